"""How much room a disk must have for checkpoints."""

from __future__ import annotations

import logging
from pathlib import Path

logger = logging.getLogger(__name__)


def required(size: int, count: int = 1) -> int:
    """Bytes that must be free to write ``count`` checkpoints of ``size`` bytes: their size and a margin."""
    return count * size + max(64 * 2**20, size // 20)


def preflight(free: int, size: int, keep: int, directory: Path) -> None:
    """Checks, before the first step, that checkpoints of ``size`` bytes will fit into ``free`` bytes.

    Raises:
        ValueError: there is no room for two. Too little to keep ``keep`` and write another is logged as a warning.
    """
    if free < (need := required(size, 2)):
        what = f"{directory} has {free:,} bytes free, two checkpoints need {need:,}"
        raise ValueError(f"{what}: free some space, or choose another disk")
    if free < (need := required(size, keep + 1)):
        what = "%s has %s bytes free; keeping %d checkpoints while writing another needs %s"
        logger.warning(what, directory, f"{free:,}", keep, f"{need:,}")
