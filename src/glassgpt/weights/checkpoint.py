"""Committed checkpoints as a reader sees them: found, verified, read. Needs no lock and changes nothing."""

from __future__ import annotations

import hashlib
import logging
import os
import re
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from io import FileIO
from pathlib import Path

from glassgpt.weights.manifest import MANIFEST, Manifest, decode

logger = logging.getLogger(__name__)

MAX_MANIFEST_BYTES = 16 * 2**20


class CorruptCheckpoint(ValueError):
    """Checkpoints exist and none of them can be trusted."""


def newest(directory: Path, until: int | None = None) -> Checkpoint | None:
    """The newest checkpoint under ``directory`` that verifies in full, or None where there is none at all; with
    ``until``, of those up to that step.

    Every newer one that does not verify is logged with the file and the reason.

    Raises:
        CorruptCheckpoint: checkpoints exist, but none verifies.
    """
    rejected = []
    for path in candidates(directory):
        if until is not None and step_of(path) > until:
            continue
        try:
            checkpoint = Checkpoint.open(path)
            checkpoint.verify()
        except (ValueError, OSError) as reason:
            if not os.path.lexists(path):  # a running training rotated it away, which it does only after newer commits
                return newest(directory, until)
            logger.warning("checkpoint %s is rejected: %s", path, reason)
            rejected.append(f"{path.name}: {reason}")
        else:
            return checkpoint
    if rejected:
        raise CorruptCheckpoint(
            f"no checkpoint in {directory} verifies: {'; '.join(rejected)}. Restore one from a copy, or start a new run"
        )
    return None


def candidates(directory: Path) -> list[Path]:
    """The directories that claim to be checkpoints, highest step first."""
    if not directory.is_dir():
        return []
    return sorted(
        (path for path in directory.iterdir() if re.fullmatch(r"step-[0-9]{8,}", path.name)),
        key=step_of,
        reverse=True,
    )


def step_name(step: int) -> str:
    """The name of the directory of one step."""
    return f"step-{step:08d}"


def step_of(path: Path) -> int:
    """The step that the name of a candidate claims."""
    return int(path.name.removeprefix("step-"))


@dataclass(frozen=True)
class Checkpoint:
    """One committed checkpoint. Its manifest has been checked; its files are when they are read or verified."""

    path: Path
    manifest: Manifest

    @classmethod
    def open(cls, path: Path) -> Checkpoint:
        """The checkpoint in ``path``, by its manifest alone.

        Raises:
            ValueError: the manifest is damaged, or belongs to another step than the directory's name says.
        """
        with regular_file(path, MANIFEST) as file:
            if os.fstat(file.fileno()).st_size > MAX_MANIFEST_BYTES:
                raise ValueError(f"{MANIFEST} is longer than {MAX_MANIFEST_BYTES} bytes")
            manifest = decode(file.read())
        if path.name != step_name(manifest.step):
            raise ValueError(f"{MANIFEST} is of step {manifest.step}, the directory is called {path.name}")
        return cls(path, manifest)

    @property
    def step(self) -> int:
        return self.manifest.step

    def read(self, name: str) -> bytes:
        """The content of one file. These very bytes were hashed: parse them, never the file again.

        Raises:
            ValueError: the manifest lists no such file, or its bytes are not those that were written.
        """
        with self._opened(name) as file:
            content = file.read()
        self._check(name, hashlib.sha256(content).hexdigest())
        return content

    def verify(self) -> None:
        """Reads and hashes every file.

        Raises:
            ValueError: a file is missing, of another length, or differs in any bit; the message names it.
        """
        for name in self.manifest.files:
            with self._opened(name) as file:
                self._check(name, hashlib.file_digest(file, "sha256").hexdigest())
        if extra := self._unlisted():
            logger.warning("%s holds files that its manifest does not list; they are not read: %s", self.path, extra)

    def verify_lengths(self) -> None:
        """Checks that every file is there with its full length, without reading it."""
        for name in self.manifest.files:
            with self._opened(name):
                pass

    @contextmanager
    def _opened(self, name: str) -> Iterator[FileIO]:
        if name not in self.manifest.files:
            raise ValueError(f"{self.path} has no file {name!r}; it has {', '.join(sorted(self.manifest.files))}")
        with regular_file(self.path, name) as file:
            length, expected = os.fstat(file.fileno()).st_size, self.manifest.files[name].bytes
            if length != expected:
                raise ValueError(f"{name} has {length} bytes, {expected} were written")
            yield file

    def _check(self, name: str, sha256: str) -> None:
        if sha256 != self.manifest.files[name].sha256:
            raise ValueError(f"{name} is damaged: its SHA-256 is not the one that was written")

    def _unlisted(self) -> list[str]:
        found = (path.relative_to(self.path).as_posix() for path in self.path.rglob("*") if not path.is_dir())
        return sorted(set(found) - {*self.manifest.files, MANIFEST})


@contextmanager
def regular_file(directory: Path, name: str) -> Iterator[FileIO]:
    """Opens ``name`` under ``directory`` for unbuffered reading; no symbolic link is followed on the way."""
    for folder in {directory, (directory / name).parent}:
        if folder.is_symlink():
            raise ValueError(f"{folder} is a symbolic link: a checkpoint is a plain directory")
    try:
        fd = os.open(directory / name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError as error:
        raise ValueError(f"{name} cannot be opened: {error.strerror}") from error
    try:
        if not stat.S_ISREG(os.fstat(fd).st_mode):
            raise ValueError(f"{name} is not a regular file")
        yield FileIO(fd, closefd=False)
    finally:
        os.close(fd)
