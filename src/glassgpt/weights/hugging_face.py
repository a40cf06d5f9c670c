"""The tensors of Hugging Face's GPT-2 from and to ours. Knows nothing of where the files lie."""

from __future__ import annotations

import re
from collections.abc import Mapping

from torch import Tensor

from glassgpt.model.config import ModelConfig
from glassgpt.weights.book import require_tied
from glassgpt.weights.lazy import LazyTensors
from glassgpt.weights.names import HUGGING_FACE
from glassgpt.weights.translate import read_lazily, with_qkv_bias, without_qkv_bias, write_lazily

_MASK = re.compile(r"transformer\.h\.\d+\.attn\.(masked_)?bias")


def to_hugging_face(tensors: Mapping[str, Tensor], config: ModelConfig) -> LazyTensors:
    """The tensors of GPT2LMHeadModel from the state dict of ``GPT(config)``, each when it is asked for.

    A tied head is left out, a missing query/key/value bias is written as zeros.
    """
    return write_lazily(HUGGING_FACE, with_qkv_bias(LazyTensors.of(tensors), config), config)


def from_hugging_face(tensors: Mapping[str, Tensor], config: ModelConfig) -> LazyTensors:
    """The state dict of ``GPT(config)`` from GPT2LMHeadModel's or GPT2Model's tensors (with ``transformer.`` or not).

    Causal-mask buffers of older files are dropped.

    Raises:
        ValueError: tensors are missing, unexpected, misshapen, or contradict the configuration.
    """
    named = {_prefixed(name): name for name in tensors}
    theirs = LazyTensors.of(tensors).renamed({new: old for new, old in named.items() if not _MASK.fullmatch(new)})
    if config.tied_head and "lm_head.weight" in theirs:
        remedy = "config.json has to say that it is not tied (tie_word_embeddings false)"
        require_tied(theirs["lm_head.weight"], theirs.get("transformer.wte.weight"), "lm_head.weight", remedy)
        theirs = theirs.without("lm_head.weight")
    ours = read_lazily(HUGGING_FACE, theirs, config.model_copy(update={"qkv_bias": True}))
    return without_qkv_bias(ours, config)


def _prefixed(name: str) -> str:
    return name if name.startswith(("transformer.", "lm_head.")) else f"transformer.{name}"
