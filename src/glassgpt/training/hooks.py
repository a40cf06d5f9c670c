"""What a run tells while it goes on: small events, and hooks that receive them. Knows nothing of models or files."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Event:
    """Something that happened after ``step`` updates."""

    step: int


@dataclass(frozen=True)
class Update(Event):
    """The weights were updated; all numbers but the last two are the same in every run of one configuration.

    ``loss`` (nats) and ``grad_norm`` (before clipping) are of the batch, ``tokens`` counts those of the whole run,
    ``seconds`` those spent in this process.
    """

    tokens: int
    loss: float
    grad_norm: float
    lr: float
    tokens_per_second: float
    seconds: float


@dataclass(frozen=True)
class Evaluation(Event):
    """The held-out text was measured: nats a token, and bits a byte of text, which tokenizers do not change."""

    tokens: int
    val_loss: float
    bits_per_byte: float


@dataclass(frozen=True)
class Saved(Event):
    """A checkpoint was committed: from here on it survives a power cut."""

    path: Path


Hook = Callable[[Event], None]


def every(steps: int, hook: Hook) -> Hook:
    """The hook, called only for events whose step is a multiple of ``steps``."""

    def filtered(event: Event) -> None:
        if event.step % steps == 0:
            hook(event)

    return filtered
