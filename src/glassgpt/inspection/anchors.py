"""What share of an accelerator's peak rate training really reached, model by model, and what to expect of another.

Utilisation is that of ``training.utilization``: attention counted in full, recomputation not at all.
"""

from __future__ import annotations

import math
import statistics
from typing import NamedTuple


class Anchor(NamedTuple):
    """A training run that somebody measured, compiled and in bfloat16."""

    parameters: float
    utilization: float
    source: str


LLMC = "llm.c on eight GPUs, https://github.com/karpathy/llm.c"
MOSAIC = "MosaicML's table of runs, https://github.com/mosaicml/llm-foundry"
MEGATRON = "Megatron-LM's table of runs, https://github.com/NVIDIA/Megatron-LM"
OURS = "measured by us on one GPU, torch 2.11: a plain model, compiled"

# All on H100s. Tokens a second became utilisation by our count of FLOPs where the source has none.
ANCHORS = (
    Anchor(124e6, 0.405, LLMC),
    Anchor(124e6, 0.411, f"{OURS}, micro-batch 64"),
    Anchor(1.3e9, 0.418, MOSAIC),
    Anchor(1.56e9, 0.486, LLMC),
    Anchor(1.56e9, 0.445, f"{OURS}, micro-batch 8"),
    Anchor(2e9, 0.41, MEGATRON),
    Anchor(7e9, 0.464, MOSAIC),
    Anchor(13e9, 0.398, MOSAIC),
    Anchor(30e9, 0.439, MOSAIC),
    Anchor(70e9, 0.426, MOSAIC),
    Anchor(175e9, 0.47, f"{MEGATRON}, 96 GPUs; 0.42 on 4,608"),
    Anchor(462e9, 0.475, MEGATRON),
)


def expected_utilization(parameters: float, anchors: tuple[Anchor, ...] = ANCHORS) -> float:
    """The median of the five anchors nearest in size; each anchor is within 15 per cent of what the others say."""
    nearest = sorted(anchors, key=lambda anchor: abs(math.log(anchor.parameters / parameters)))[:5]
    return statistics.median(anchor.utilization for anchor in nearest)
