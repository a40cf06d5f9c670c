"""Which checkpoints stay and which go. Knows nothing of how they were written."""

from __future__ import annotations

import logging
from collections.abc import Callable
from pathlib import Path

from glassgpt.weights.checkpoint import Checkpoint, candidates, step_of

logger = logging.getLogger(__name__)


class Rotation:
    """Keeps the newest ``keep`` verified checkpoints, and every one whose step ``keep_every`` divides.

    A checkpoint goes only when ``keep`` newer ones have been verified, so the newest verified one never does; damaged
    ones are not counted.
    """

    def __init__(self, directory: Path, keep: int, keep_every: int | None) -> None:
        if keep < 2:
            raise ValueError(f"keep is {keep}: keep at least 2 checkpoints, so that a damaged one has a predecessor")
        self.directory = directory
        self.keep = keep
        self.keep_every = keep_every
        self._verified: dict[int, bool] = {}  # step -> whether its bytes were right when this process had them in hand

    def trust(self, step: int) -> None:
        """Notes that this process has written or hashed every byte of a step."""
        self._verified[step] = True

    def rotate(self, delete: Callable[[Path], None]) -> None:
        """Calls ``delete`` for each checkpoint that may go; one that cannot be deleted is logged."""
        kept = 0
        for path in candidates(self.directory):
            if kept < self.keep:
                kept += self._verifies(path)
            elif self.keep_every is None or step_of(path) % self.keep_every:
                try:
                    delete(path)
                except OSError as error:
                    logger.warning("the old checkpoint %s cannot be deleted: %s", path, error)

    def _verifies(self, path: Path) -> bool:
        """Hashes a checkpoint, or checks its lengths if its bytes were right before."""
        step = step_of(path)
        try:
            checkpoint = Checkpoint.open(path)
            if self._verified.get(step):
                checkpoint.verify_lengths()
            else:
                checkpoint.verify()
        except (ValueError, OSError) as reason:
            if self._verified.get(step) is not False:
                logger.warning("checkpoint %s does not count as kept: %s", path, reason)
            self._verified[step] = False
        else:
            self._verified[step] = True
        return self._verified[step]
