"""Stop strings in text that arrives in pieces. Knows nothing of tokens."""

from __future__ import annotations

from collections.abc import Sequence


class StopText:
    """Lets text through until a stop string begins, and holds back what may become one."""

    def __init__(self, stops: Sequence[str]):
        if "" in stops:
            raise ValueError("a stop string is empty: give at least one character, or none at all")
        self.stops = stops
        self.is_found = False
        self._held = ""

    def push(self, piece: str) -> str:
        """The part of the text so far that is certainly before any stop string and was not returned yet."""
        if self.is_found:
            return ""
        self._held += piece
        starts = [start for stop in self.stops if (start := self._held.find(stop)) >= 0]
        if starts:
            self.is_found = True
            return self._release(min(starts))
        return self._release(len(self._held) - self._overlap())

    def finish(self) -> str:
        """What was held back in case a stop string came."""
        return "" if self.is_found else self._release(len(self._held))

    def _release(self, length: int) -> str:
        text, self._held = self._held[:length], self._held[length:]
        return text

    def _overlap(self) -> int:
        """How many characters at the end could be the beginning of a stop string."""
        longest = max((len(stop) for stop in self.stops), default=1) - 1
        for length in range(min(longest, len(self._held)), 0, -1):
            if any(stop.startswith(self._held[-length:]) for stop in self.stops):
                return length
        return 0
