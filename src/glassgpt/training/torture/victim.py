"""A forked process that is there to be killed, and says what it has promised before."""

from __future__ import annotations

import os
import select
import signal
import warnings
from collections.abc import Callable
from dataclasses import dataclass

Announce = Callable[[int], None]


@dataclass(frozen=True)
class Ending:
    """How a victim ended: its exit code (minus the signal that killed it), the steps it announced, its last words."""

    code: int
    announced: list[int]
    error: str


class Victim:
    """Runs ``run(announce)`` in a forked process; torch and everything else are imported already.

    The process ends without any clean-up; its exit code is what ``run`` returns, 0 for None, 70 for an exception.
    """

    def __init__(self, run: Callable[[Announce], int | None]) -> None:
        self._pipe, write = os.pipe()
        with warnings.catch_warnings():
            # Python warns of threads whose locks a child never sees released; this one only computes, saves and dies.
            warnings.simplefilter("ignore", DeprecationWarning)
            self.pid = os.fork()
        if self.pid == 0:
            code = 70
            try:
                code = run(lambda step: _say(write, f"{step}")) or 0
            except SystemExit as end:
                code = int(end.code or 0)
            except KeyboardInterrupt:
                code = 130
            except BaseException as error:
                _say(write, f"{type(error).__name__}: {error}")
            finally:
                os._exit(code)
        os.close(write)

    def hear(self) -> None:
        """Waits until the victim announces something, or ends."""
        select.select([self._pipe], [], [])

    def kill(self, number: int) -> None:
        """Sends a signal; a victim that has ended but was not waited for does not mind."""
        os.kill(self.pid, number)

    def wait(self, patience: float | None = None) -> Ending:
        """Waits for the end, which is once only; after ``patience`` seconds of silence the victim is killed."""
        words = b""
        while True:
            if not select.select([self._pipe], [], [], patience)[0]:
                self.kill(signal.SIGKILL)
                patience = None
            elif part := os.read(self._pipe, 2**16):
                words += part
            else:
                break
        os.close(self._pipe)
        code = os.waitstatus_to_exitcode(os.waitpid(self.pid, 0)[1])
        lines = words.decode().splitlines()
        steps = [int(line) for line in lines if line.isdigit()]
        return Ending(code, steps, "\n".join(line for line in lines if not line.isdigit()))


def _say(pipe: int, line: str) -> None:
    os.write(pipe, f"{line}\n".encode())
