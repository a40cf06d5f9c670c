"""A look at a file from elsewhere by a process that has little memory, little time and no torch.

Its headers are read there first, by the same code that reads them here, and they are described or refused in one line.
Whatever else happens, happens to that process. Only then does a command open the file.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from contextlib import suppress
from pathlib import Path
from typing import Any

from glassgpt.weights.untrusted import printable

MEMORY = 256 * 2**20  # bytes of address space beyond what the process has before it looks
SECONDS = 60  # of processor time
OPEN_FILES = 64

_NEW_USER_AND_NETWORK = 0x50000000  # CLONE_NEWUSER | CLONE_NEWNET


def scout(path: Path) -> dict[str, Any]:
    """The passport of the model at ``path``, made in a process of its own.

    Raises:
        ValueError: the file is refused, or to look at it takes more memory or time than headers should.
    """
    command = [sys.executable, "-P", "-m", __name__, os.fspath(path)]  # -P: nothing is imported from where we are
    ran = subprocess.run(command, capture_output=True, text=True, stdin=subprocess.DEVNULL, errors="replace")
    if ran.returncode == 0:
        return json.loads(ran.stdout)
    if ran.returncode == 1 and ran.stdout:
        raise ValueError(ran.stdout)
    raise ValueError(f"{path} is refused: the process that looked at its headers ended with code {ran.returncode}")


def main(path: Path) -> int:
    """Writes the passport as JSON, or why there is none."""
    from glassgpt.inspection.passport import passport

    confine()
    try:
        answer, code = json.dumps(passport(path)), 0
    except MemoryError:
        answer, code = f"{path} is refused: to read its headers takes more than {MEMORY // 2**20} MB", 1
    except OSError as error:
        answer, code = f"{error.filename}: {error.strerror}" if error.strerror else str(error), 1
    except ValueError as error:
        answer, code = str(error), 1
    sys.stdout.write(printable(answer))
    return code


def confine() -> None:
    """Takes from this process what no reader of headers needs: memory, time, files to write, the network."""
    try:
        import resource
    except ImportError:  # Windows has none of this
        return
    if unshare := getattr(os, "unshare", None):  # from Python 3.12 on, and not in every container
        with suppress(OSError):
            unshare(_NEW_USER_AND_NETWORK)
    limits = {"CPU": SECONDS, "FSIZE": 0, "NOFILE": OPEN_FILES, "CORE": 0}
    if sys.platform == "linux":
        limits["AS"] = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize() + MEMORY
    for name, limit in limits.items():
        resource.setrlimit(getattr(resource, f"RLIMIT_{name}"), (limit, limit))


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
