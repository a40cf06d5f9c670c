"""Small file systems of our own: a tmpfs to fill up, an ext4 image to cut off. Needs root."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from glassgpt.training.torture.outcome import Unavailable


@contextmanager
def mounted(point: Path, *arguments: str | Path) -> Iterator[Path]:
    """Mounts at ``point`` while the block runs: ``mounted(point, "-t", "tmpfs", "-o", "size=1M", "tmpfs")``.

    Raises:
        Unavailable: this process may not mount, or the kernel lacks the file system.
    """
    point.mkdir(parents=True, exist_ok=True)
    _run("mount", *arguments, point)
    try:
        yield point
    finally:
        _run("umount", point)


def ext4_image(path: Path, megabytes: int) -> Path:
    """A new file that holds an empty ext4 file system."""
    with path.open("wb") as file:
        file.truncate(megabytes * 2**20)
    _run("mkfs.ext4", "-q", "-F", path)
    return path


def _run(program: str, *arguments: str | Path) -> None:
    if os.geteuid() != 0:
        raise Unavailable("mounting a file system needs root")
    if shutil.which(program) is None:
        raise Unavailable(f"{program} is not installed")
    done = subprocess.run([program, *map(str, arguments)], capture_output=True, text=True, check=False)
    if done.returncode:
        raise Unavailable(f"{program} failed: {done.stderr.strip() or done.returncode}")
