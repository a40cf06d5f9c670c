"""What a model does with fixed prompts: its logits, and what it would write next. Knows logits only, not how they come.

B batch, T tokens, V vocabulary
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from glassgpt.model.config import ModelConfig
from glassgpt.weights.opened import Opened

Run = Callable[[Tensor], Tensor]  # tokens (B, T) -> logits (B, T, V)

NUM_PROMPTS, LENGTH, NUM_NEW = 3, 8, 12


@dataclass(frozen=True)
class Behaviour:
    """The logits (B, T, V) of the prompts, and the greedy continuation of each."""

    logits: Tensor
    continuations: list[list[int]]


def prompts_for(config: ModelConfig) -> Tensor:
    """Token ids (B, T) spread over the vocabulary; of all models of one shape the same."""
    length = max(1, min(LENGTH, config.context_length - NUM_NEW))
    places = torch.arange(1, NUM_PROMPTS * length + 1).view(NUM_PROMPTS, length)
    return places * 7919 % config.vocab_size


@torch.no_grad()
def behaviour(run: Run, prompts: Tensor, config: ModelConfig) -> Behaviour:
    """What ``run`` does with ``prompts`` (B, T); only tokens of ``config``'s vocabulary are looked at and chosen."""
    num_new = min(NUM_NEW, config.context_length - prompts.shape[1] + 1)  # the last one is not read
    tokens, first = prompts, torch.empty(0)
    for step in range(num_new):
        logits = run(tokens)[..., : config.vocab_size]
        first = logits if step == 0 else first
        tokens = torch.cat([tokens, logits[:, -1:].argmax(-1)], dim=1)
    return Behaviour(first, tokens[:, prompts.shape[1] :].tolist())


def runner(path: Path, opened: Opened) -> Run:
    """A function that computes the logits of the model stored at ``path``: by its own reader where it is a program of
    its own, which only ONNX is, else by this package's model in float32."""
    if opened.format == "onnx":
        from glassgpt.weights.onnx import Session

        session = Session(path)
        return lambda tokens: session(tokens)[0]
    return opened.build()
