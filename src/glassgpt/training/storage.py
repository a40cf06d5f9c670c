"""The system calls a commit is made of, one method each. Knows nothing of checkpoints.

``glassgpt torture`` puts itself here, to fail, kill or cut the power at every single call.
"""

from __future__ import annotations

import errno
import fcntl
import hashlib
import os
from collections.abc import Iterable
from pathlib import Path

Buffer = bytes | memoryview


class Storage:
    """Changes to one file system. Every method raises OSError when the kernel refuses."""

    def create(self, path: Path) -> int:
        """A descriptor of a new, empty file. What exists is never opened, a symbolic link never followed."""
        return os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_NOFOLLOW | os.O_CLOEXEC, 0o666)

    def write(self, fd: int, data: Buffer) -> int:
        """Hands ``data`` to the kernel and returns how many bytes it took, which may be fewer."""
        return os.write(fd, data)

    def sync(self, fd: int) -> None:
        """Returns when the file is on the disk itself."""
        if hasattr(fcntl, "F_FULLFSYNC"):  # macOS: fsync alone leaves the bytes in the drive's cache
            fcntl.fcntl(fd, fcntl.F_FULLFSYNC)
        else:
            os.fsync(fd)

    def close(self, fd: int) -> None:
        os.close(fd)

    def make_directory(self, path: Path) -> None:
        path.mkdir(mode=0o700)

    def sync_directory(self, path: Path) -> None:
        """Returns when the names in a directory are on the disk itself; without it a power cut takes them back."""
        fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            os.fsync(fd)
        finally:
            os.close(fd)

    def rename(self, old: Path, new: Path) -> None:
        os.rename(old, new)  # noqa: PTH104 - Path.rename adds nothing, this is the system call

    def unlink(self, path: Path) -> None:
        path.unlink()

    def remove_directory(self, path: Path) -> None:
        path.rmdir()

    def free(self, path: Path) -> int:
        """Bytes that an ordinary user may still write to the file system of ``path``."""
        status = os.statvfs(path)
        return status.f_bavail * status.f_frsize


def write_file(storage: Storage, path: Path, chunks: Iterable[Buffer]) -> tuple[int, str]:
    """Creates ``path`` from ``chunks`` and makes it durable; returns length and SHA-256 of what the kernel got.

    A failed sync is never retried: the kernel may have dropped the pages it could not write.
    """
    length, sha256 = 0, hashlib.sha256()
    try:
        fd = storage.create(path)
        try:
            for chunk in chunks:
                sha256.update(chunk)
                rest = memoryview(chunk).cast("B")
                length += len(rest)
                while rest:
                    rest = rest[storage.write(fd, rest) :]
            storage.sync(fd)
        finally:
            storage.close(fd)
    except OSError as error:
        error.filename = str(path)  # write and fsync know only the descriptor
        raise
    return length, sha256.hexdigest()


def remove_tree(storage: Storage, path: Path) -> None:
    """Deletes a directory of files and directories; symbolic links are removed, never followed."""
    for entry in sorted(path.iterdir()):
        if entry.is_dir() and not entry.is_symlink():
            remove_tree(storage, entry)
        else:
            storage.unlink(entry)
    storage.remove_directory(path)


def is_refusal(error: OSError) -> bool:
    """Whether the file system does not know how to sync a directory, as opposed to failing to."""
    return error.errno in (errno.EINVAL, errno.ENOTSUP, errno.ENOSYS, errno.EBADF)
