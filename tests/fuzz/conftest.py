"""Opening a hostile file under the limits that are promised."""

from __future__ import annotations

import os
import resource
import warnings
from collections.abc import Callable
from pathlib import Path

import pytest

from glassgpt.weights.formats import FORMATS, format_named, open_model

ROOM = 256 * 2**20  # bytes of memory beyond the file's own size
SECONDS = 2  # of processor time


@pytest.fixture
def refusal() -> Callable[[Path], str]:
    """Why a file is refused, found out in a process with so much memory and time and no more."""
    for name in FORMATS:
        format_named(name)  # imported here, not in the child

    def refused(path: Path) -> str:
        size = sum(file.stat().st_size for file in [path, *path.rglob("*")] if file.is_file())
        reader, writer = os.pipe()
        with warnings.catch_warnings():  # of threads, whose locks the child never sees released: it uses none
            warnings.simplefilter("ignore", DeprecationWarning)
            child = os.fork()
        if child == 0:
            pages = int(Path("/proc/self/statm").read_text().split()[0])
            resource.setrlimit(resource.RLIMIT_AS, (pages * resource.getpagesize() + size + ROOM,) * 2)
            resource.setrlimit(resource.RLIMIT_CPU, (SECONDS, SECONDS))
            os.write(writer, outcome(path).encode()[:4000])
            os._exit(0)
        os.close(writer)
        with os.fdopen(reader, "rb") as pipe:
            answer = pipe.read().decode()
        _, status = os.waitpid(child, 0)
        assert status == 0, f"the reader ended with status {status}"
        return answer

    return refused


def outcome(path: Path) -> str:
    """The refusal, or the name of what went wrong instead."""
    try:
        for _ in open_model(path).tensors.values():
            pass
    except (ValueError, FileNotFoundError) as error:
        return str(error)
    except BaseException as error:
        return f"not refused but {error!r}"
    return "not refused"
