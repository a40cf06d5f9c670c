"""Files that appear whole, with all their bytes on the disk, or not at all."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from errno import ENOSPC
from pathlib import Path
from tempfile import TemporaryDirectory


@contextmanager
def staged(path: Path) -> Iterator[Path]:
    """A path in a hidden directory beside ``path``. What is there in the end is made durable and moved to ``path``;
    files written beside it move along before it. Nothing is overwritten.

    Raises:
        FileExistsError: ``path`` exists, or what would move along does.
        OSError: nothing can be written there, or the disk is full; says so of ``path``.
    """
    check_free(path)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        hidden = TemporaryDirectory(dir=path.parent, prefix=f".{path.name}.")
    except OSError as error:
        why = f"nothing can be written there ({error.strerror}): choose another place"
        raise OSError(error.errno, why, str(path)) from error
    try:
        with hidden as folder:
            stage = Path(folder) / path.name
            yield stage
            for file in [*Path(folder).rglob("*"), Path(folder)]:
                sync(file)
            ready = sorted(Path(folder).iterdir(), key=lambda file: file == stage)
            for file in ready:
                check_free(path.parent / file.name)
            for file in ready:
                file.rename(path.parent / file.name)
    except OSError as error:
        if error.errno != ENOSPC:
            raise
        raise OSError(
            ENOSPC, "the disk is full, and nothing was written: make room and try again", str(path)
        ) from error
    sync(path.parent)


def check_free(path: Path) -> None:
    """Raises FileExistsError where something is at ``path``."""
    if os.path.lexists(path):
        raise FileExistsError(f"{path} exists: remove it or choose another name")


def sync(path: Path) -> None:
    """Returns when a file, or the names in a directory, are on the disk itself."""
    fd = os.open(path, os.O_RDONLY)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)
