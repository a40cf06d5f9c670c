"""What the sections of the verification share: the ledger's inputs, seeded models, short forms of long rows."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import torch
from torch import Tensor, nn

from glassgpt.book import chapter, dummy
from glassgpt.book.dropout import drawn_by
from glassgpt.tokenizer.gpt2 import gpt2

Values = dict[str, dict[str, Any]]  # what was computed, by the id of its ledger entry


@dataclass(frozen=True)
class Seeded:
    """A model and the random state that building it from a seed left, so that every training pass repeats the first.

    Values come without gradients.
    """

    model: Any
    random_state: Tensor

    @classmethod
    def build(cls, build: Callable[..., nn.Module], *args: Any) -> Seeded:
        """What ``build(*args)`` makes straight after ``torch.manual_seed(123)``."""
        torch.manual_seed(123)
        return cls(build(*args), torch.get_rng_state())

    @torch.no_grad()
    def train(self, x: Tensor, sampler: str | None = None) -> Tensor:
        """The output with dropout, drawn by the named sampler or else as this machine does."""
        torch.set_rng_state(self.random_state)
        with drawn_by(sampler):
            return self.model.train()(x)

    @torch.no_grad()
    def eval(self, x: Tensor) -> Tensor:
        """The output without dropout."""
        return self.model.eval()(x)


class Chapter:
    """The batch and the full model, made when a section first asks for them."""

    config = dummy.GPT_CONFIG_124M
    texts = "Every effort moves you", "Every day holds a"

    @cached_property
    def batch(self) -> Tensor:
        """The token ids of the two texts, (2, 4)."""
        return torch.stack([torch.tensor(gpt2().encode(text)) for text in self.texts])

    @cached_property
    def gpt(self) -> Seeded:
        return Seeded.build(chapter.GPTModel, self.config)


def ends(x: Tensor) -> Tensor:
    """The first three and the last three values of every row."""
    return torch.cat((x[..., :3], x[..., -3:]), dim=-1)


def row_ends(x: Tensor) -> Tensor:
    """One row of ``ends`` per token: (B, T, width) becomes (B * T, 6)."""
    return ends(x.flatten(0, 1))


def num_parameters(module: nn.Module) -> int:
    """How many parameters a module holds."""
    return sum(parameter.numel() for parameter in module.parameters())


def on_meta(build: Callable[..., nn.Module], *args: Any, **kwargs: Any) -> Any:
    """``build(*args, **kwargs)`` without storage: enough to count and to read shapes, at any size."""
    with torch.device("meta"):
        return build(*args, **kwargs)
