"""How the next token is chosen, as pure functions of the logits. Knows nothing of models, caches or text.

B batch, V vocabulary
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import numpy as np
import torch
from pydantic import BaseModel, ConfigDict, Field, field_validator
from torch import Tensor

from glassgpt.model.keys import key

SMALLEST = 1e-9  # what logits are divided by; below, they may become infinite


class SamplingParams(BaseModel):
    """How to continue a prompt. The filters apply in the order of the fields, as in transformers.

    ``temperature`` 0 is greedy. ``overflow`` says what happens where prompt and new tokens exceed the context:
    ``stop`` ends the text there, ``refuse`` raises before the first token, ``slide`` re-reads the last half of the
    context and goes on (cheap, forgets in steps), ``crop`` re-reads the last full context for every further token
    (what the book's ``generate_text_simple`` computes; one whole forward pass a token).
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    max_new_tokens: int = Field(default=100, ge=0)
    repetition_penalty: float = Field(default=1.0, ge=SMALLEST, le=1e9)
    temperature: float = Field(default=0.8, ge=0.0)
    top_k: int | None = Field(default=None, ge=1)
    top_p: float | None = Field(default=0.95, gt=0.0, le=1.0)
    min_p: float | None = Field(default=None, ge=0.0, le=1.0)
    stop: tuple[str, ...] = ()
    stop_ids: tuple[int, ...] = ()
    stop_at_eot: bool = True
    overflow: Literal["stop", "refuse", "slide", "crop"] = "stop"
    num_top: int = Field(default=0, ge=0, le=20)

    @field_validator("temperature")
    @classmethod
    def _logits_stay_finite(cls, temperature: float) -> float:
        if 0.0 < temperature < SMALLEST:
            raise ValueError(f"{temperature:g} is too small: 0 is greedy, the next choice is {SMALLEST:g}")
        return temperature


def sample(
    logits: Tensor, draws: Sequence[float] | Tensor, seen: Sequence[Sequence[int]], params: SamplingParams
) -> Tensor:
    """One token id a row, (B,), from logits (B, V); ``draws`` are uniform numbers in [0, 1), one a row, and nothing
    where the choice is greedy.

    ``seen`` are the ids that the repetition penalty applies to, row by row. Rows do not influence each other.
    """
    if params.repetition_penalty != 1.0:
        logits = penalize(logits, seen, params.repetition_penalty)
    if params.temperature == 0.0:
        return largest(logits)
    logits = logits.float() / params.temperature
    if params.top_k is not None:
        logits = keep_top_k(logits, params.top_k)
    if params.top_p is not None and params.top_p < 1.0:
        logits = keep_top_p(logits, params.top_p)
    if params.min_p is not None:
        logits = keep_min_p(logits, params.min_p)
    return pick(logits.softmax(-1), draws)


def largest(logits: Tensor) -> Tensor:
    """The index of the largest number of each row, (B,)."""
    if logits.device.type == "cpu" and logits.dtype == torch.float32:  # NumPy takes a tenth of PyTorch's time
        return torch.from_numpy(logits.numpy().argmax(-1))
    return logits.argmax(-1)


def penalize(logits: Tensor, seen: Sequence[Sequence[int]], penalty: float) -> Tensor:
    """Divides positive and multiplies negative logits of the seen ids by the penalty (Keskar et al. 2019, CTRL)."""
    logits = logits.clone()
    for row, ids in zip(logits, seen, strict=True):
        index = torch.tensor(sorted(set(ids)), device=logits.device)
        row[index] = torch.where(row[index] > 0, row[index] / penalty, row[index] * penalty)
    return logits


def keep_top_k(logits: Tensor, k: int) -> Tensor:
    """Sets all but the k largest logits of a row to -inf; equals of the k-th stay."""
    kth = logits.topk(min(k, logits.shape[-1])).values[..., -1:]
    return logits.masked_fill(logits < kth, float("-inf"))


def keep_top_p(logits: Tensor, p: float) -> Tensor:
    """Keeps the fewest likeliest tokens that reach p together, and equals of the last (Holtzman et al. 2020)."""
    descending = sorted_down(logits)
    probabilities = descending.softmax(-1)
    before = probabilities.cumsum(-1) - probabilities
    last = descending.gather(-1, (before < p).sum(-1, keepdim=True) - 1)
    return logits.masked_fill(logits < last, float("-inf"))


def sorted_down(logits: Tensor) -> Tensor:
    """The numbers of each row from the largest to the smallest."""
    if logits.device.type == "cpu":  # NumPy sorts a vocabulary many times as fast as PyTorch
        return torch.from_numpy(-np.sort(-logits.numpy(), axis=-1))
    return logits.sort(dim=-1, descending=True).values


def keep_min_p(logits: Tensor, p: float) -> Tensor:
    """Drops tokens less likely than p times the most likely one (Nguyen et al. 2024, min-p)."""
    probabilities = logits.softmax(-1)
    return logits.masked_fill(probabilities < p * probabilities.amax(-1, keepdim=True), float("-inf"))


def pick(probabilities: Tensor, draws: Sequence[float] | Tensor) -> Tensor:
    """The token at which the cumulative probability of a row passes its draw."""
    cumulative = probabilities.double().cumsum(-1)
    targets = torch.as_tensor(draws, dtype=torch.float64, device=probabilities.device)[:, None] * cumulative[:, -1:]
    return torch.searchsorted(cumulative, targets, right=True).clamp(max=probabilities.shape[-1] - 1)[:, 0]


def draw(seed: int, choice: int, position: int) -> float:
    """The uniform number in [0, 1) that decides the token at ``position``: the same alone or in any batch."""
    return (key("sample", 1, seed, choice, position) >> 10) / 2**53
