"""Batches whose loss stands out from those before: noticed and told, never a reason to stop. Knows no model or data."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Sequence
from statistics import median

from glassgpt.training.hooks import Event, Spike, Update

WINDOW, ENOUGH = 64, 32  # steps that a loss is compared with: at most, at least
THRESHOLD = 6.0  # robust standard deviations; OLMo-core skips steps beyond six plain ones


class Spikes:
    """A hook that answers an update whose loss lies more than ``THRESHOLD`` above the losses of the ``WINDOW`` before.

    ``windows(step)`` are the windows of the batch behind an update. A run that is resumed hands over its last
    ``losses``, so that it notices what an uninterrupted one would.
    """

    def __init__(self, windows: Callable[[int], Sequence[int]], losses: Iterable[float] = ()):
        self.windows = windows
        self.losses = deque(losses, maxlen=WINDOW)

    def __call__(self, event: Event) -> Spike | None:
        if not isinstance(event, Update):
            return None
        before = list(self.losses)
        self.losses.append(event.loss)
        if len(before) < ENOUGH or (found := score(event.loss, before)) <= THRESHOLD:
            return None
        return Spike(event.step, found, event.loss, median(before), tuple(self.windows(event.step)))


def score(value: float, others: Sequence[float]) -> float:
    """How many robust standard deviations ``value`` lies above the median of ``others``.

    The deviation is 1.4826 times the median distance from the median, which for normal noise is the usual one and which
    a few spikes do not change; it counts as at least a thousandth of the median, so that a flat line has no spikes.
    Source: Rousseeuw and Croux 1993, https://doi.org/10.1080/01621459.1993.10476408.
    """
    middle = median(others)
    deviation = 1.4826 * median(abs(other - middle) for other in others)
    return (value - middle) / max(deviation, abs(middle) / 1000, 1e-12)
