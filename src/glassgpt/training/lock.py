"""One writer per directory. Knows nothing of what is written.

The kernel frees the lock of a dead holder, so a crash never leaves one behind.
"""

from __future__ import annotations

import fcntl
import json
import os
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def exclusive(path: Path) -> Iterator[None]:
    """Holds the lock file ``path`` while the block runs; the file names the holder's pid, host and start time.

    Raises:
        ValueError: another process holds it, or a process on another host did and never gave it back.
        OSError: the file system has no locks.
    """
    fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o666)
    try:
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise ValueError(
                f"{path.parent} is in use by {_holder(fd)}: stop it, or choose another directory"
            ) from None
        except OSError as error:
            raise OSError(
                error.errno,
                f"{path} cannot be locked: {error.strerror}. Choose a directory on another file system, or have this "
                "one mounted with locks",
            ) from None
        here = socket.gethostname()
        # flock may not reach across hosts on a network file system, so a foreign name counts as a holder.
        if _record(fd).get("host", here) != here:
            raise ValueError(f"{path.parent} was left locked by {_holder(fd)}: if it has ended, delete {path}")
        os.ftruncate(fd, 0)
        os.pwrite(fd, json.dumps({"pid": os.getpid(), "host": here, "started": int(time.time())}).encode(), 0)
        try:
            yield
        finally:
            os.ftruncate(fd, 0)
    finally:
        os.close(fd)


def _holder(fd: int) -> str:
    record = _record(fd)
    return f"process {record.get('pid', '?')} on {record.get('host', '?')}"


def _record(fd: int) -> dict[str, str | int]:
    try:
        record = json.loads(os.pread(fd, 4096, 0))
    except ValueError:  # empty, or its holder was killed while writing it
        return {}
    return record if isinstance(record, dict) else {}
