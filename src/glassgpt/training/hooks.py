"""What a run tells while it goes on: small events, and hooks that receive them. Knows nothing of models or files."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Event:
    """Something that happened after ``step`` updates."""

    step: int


@dataclass(frozen=True)
class Update(Event):
    """The weights were updated; all numbers up to ``lr`` are the same in every run of one configuration.

    ``loss`` (nats) and ``grad_norm`` (before clipping) are of the batch, ``tokens`` counts those of the whole run,
    ``seconds`` those spent in this process. ``mfu`` is the share of the devices' peak rate that is used, None where
    that rate is not known; ``memory`` the most bytes this process has held at once.
    """

    tokens: int
    loss: float
    grad_norm: float
    lr: float
    tokens_per_second: float
    seconds: float
    mfu: float | None = None
    memory: int = 0


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


@dataclass(frozen=True)
class Sample(Event):
    """The model was asked to continue ``prompt``, and wrote ``text``."""

    prompt: str
    text: str


@dataclass(frozen=True)
class Spike(Event):
    """The loss of a batch stands out from those before it: ``score`` robust deviations above their ``median_loss``.

    ``windows`` are the windows of the training tokens that the batch was made of.
    """

    score: float
    spike_loss: float
    median_loss: float
    windows: tuple[int, ...]


# A hook may answer with an event of its own, which all hooks then hear of.
Hook = Callable[[Event], Event | None]


def tell(hooks: Sequence[Hook], event: Event) -> None:
    """Lets every hook hear of an event, then of what hooks answered to it."""
    answers = [hook(event) for hook in hooks]
    for answer in answers:
        if answer is not None:
            tell(hooks, answer)


def every(steps: int, hook: Hook) -> Hook:
    """The hook, called only for events whose step is a multiple of ``steps``."""

    def filtered(event: Event) -> Event | None:
        return hook(event) if event.step % steps == 0 else None

    return filtered


def forgiving(hook: Hook, name: str) -> Hook:
    """The hook, whose failures stop nothing: each kind is logged once, and the next event is told as if all were well.

    For trackers and pictures, which matter less than the run.
    """
    known: set[type[Exception]] = set()

    def forgiven(event: Event) -> Event | None:
        try:
            return hook(event)
        except Exception as error:
            if type(error) not in known:
                known.add(type(error))
                logger.warning(
                    "%s failed at step %d, and training goes on: %s: %s. metrics.jsonl has every figure",
                    name, event.step, type(error).__name__, error,
                )  # fmt: skip
            return None

    return forgiven
