"""The start of a process without pauses for collecting garbage. Knows no command.

Python looks for garbage while torch is imported, again and again through hundreds of thousands of objects of which
none is garbage: a fifth of the time until a command begins to work.
"""

from __future__ import annotations

import gc
import time

PATIENCE = 5.0  # seconds after which a command has started
FEW = 100_000  # objects that may come between two collections until then


def postpone_collection(patience: float = PATIENCE) -> None:
    """Makes garbage collection rare for the first seconds. The first one after them brings back the usual pace, and
    sets aside what is there by then: modules, which stay."""
    usual, start = gc.get_threshold(), time.monotonic()

    def resume(phase: str, _: dict[str, int]) -> None:
        if phase == "stop" and time.monotonic() - start >= patience:
            gc.callbacks.remove(resume)
            gc.set_threshold(*usual)
            gc.freeze()

    gc.callbacks.append(resume)
    gc.set_threshold(FEW, *usual[1:])
