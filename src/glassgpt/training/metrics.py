"""``metrics.jsonl``: the events of a run as JSON lines, always on, and in step with its checkpoints.

Of two runs with one configuration every field is equal except ``VARYING``.
"""

from __future__ import annotations

import json
import os
from collections import deque
from dataclasses import asdict
from pathlib import Path
from typing import Any, Self

from glassgpt.data.token_file import named
from glassgpt.training.hooks import Event, Saved

METRICS, LOST = "metrics.jsonl", "metrics.lost.jsonl"
VARYING = ("tokens_per_second", "seconds", "mfu", "memory")


class MetricsLog:
    """A hook that appends what happens, but for checkpoints, to the ``metrics.jsonl`` of a run directory.

    ``length`` is how much of the file belongs to the checkpoint the run goes on from. What a killed process wrote after
    it moves to ``metrics.lost.jsonl``: those steps are taken again.
    """

    def __init__(self, directory: Path, length: int = 0):
        self.path = directory / METRICS
        self.file = self.path.open("a+b")
        self.file.seek(length)
        if lost := self.file.read():
            with (directory / LOST).open("ab") as file:
                file.write(lost)
            self.file.truncate(length)

    def __call__(self, event: Event) -> None:
        if not isinstance(event, Saved):
            with named(self.path):
                self.file.write(json.dumps(asdict(event), allow_nan=False).encode() + b"\n")

    def sync(self) -> int:
        """Makes what was written durable and returns its length in bytes."""
        with named(self.path):
            self.file.flush()
            os.fsync(self.file.fileno())
        return os.fstat(self.file.fileno()).st_size

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        with named(self.path):
            self.file.close()


def last_losses(path: Path, count: int) -> list[float]:
    """The losses of the last ``count`` updates in a ``metrics.jsonl``, of which little is in memory at a time."""
    with path.open(encoding="utf-8") as file:
        return list(deque((line["loss"] for line in map(json.loads, file) if "loss" in line), maxlen=count))


def read(path: Path) -> list[dict[str, Any]]:
    """The lines of a ``metrics.jsonl``; an unfinished last one, as of a run that goes on, is left out."""
    complete = path.read_text(encoding="utf-8").rpartition("\n")[0]
    return [json.loads(line) for line in complete.splitlines()]
