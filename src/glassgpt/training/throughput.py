"""How fast a run is: tokens a second over its latest steps. Knows nothing of what a step does."""

from __future__ import annotations

import time
from collections import deque


class Throughput:
    """Times steps with ``start`` and ``stop``; what happens in between steps, such as saving, does not count."""

    def __init__(self, window: int = 20):
        self.laps: deque[tuple[int, float]] = deque(maxlen=window)
        self.began = self.lap = time.perf_counter()

    def start(self) -> None:
        self.lap = time.perf_counter()

    def stop(self, tokens: int) -> None:
        self.laps.append((tokens, time.perf_counter() - self.lap))

    @property
    def tokens_per_second(self) -> float:
        """Mean over the last ``window`` steps; 0 before the first."""
        seconds = sum(seconds for _, seconds in self.laps)
        return sum(tokens for tokens, _ in self.laps) / seconds if seconds else 0.0

    @property
    def seconds(self) -> float:
        """Since this object was made."""
        return time.perf_counter() - self.began
