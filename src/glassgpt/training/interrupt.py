"""Signals as a request to stop at the next good moment. Knows nothing of training."""

from __future__ import annotations

import signal
import threading
import time
from collections.abc import Callable
from queue import Empty, SimpleQueue
from types import FrameType
from typing import Self

SIGNALS = [signal.Signals[name] for name in ("SIGINT", "SIGTERM", "SIGUSR1", "SIGHUP") if hasattr(signal, name)]
ECHO = 5.0  # seconds within which SIGTERM after SIGTERM, or SIGUSR1 after SIGUSR1, is the same request


class Interrupt:
    """Within ``with Interrupt() as interrupt``, true from the first SIGINT, SIGTERM, SIGUSR1 or SIGHUP on.

    The loop asks for it wherever it can stop. A second signal ends the process at once with exit code 1, but for an
    echo (Slurm tells every process of a job, and torchrun then tells its ranks once more) and for SIGHUP: of a terminal
    that is closed both kernel and shell tell. Under nohup SIGHUP stays ignored. Outside the main thread, where Python
    delivers no signals, it stays false.
    """

    signal: signal.Signals | None = None
    since = 0.0  # when it came
    watcher: threading.Thread | None = None

    def __init__(self) -> None:
        # A queue, because a signal handler may neither start a thread nor wait for a lock.
        self.events: SimpleQueue[str] = SimpleQueue()

    def watch(self, deadline: float, overdue: Callable[[], object]) -> None:
        """Calls ``overdue``, in a thread of its own, if the block still runs ``deadline`` seconds after a signal."""

        def wait() -> None:
            if self.events.get() == "signal":
                try:
                    self.events.get(timeout=min(deadline, threading.TIMEOUT_MAX))
                except Empty:
                    overdue()

        self.watcher = threading.Thread(target=wait, name="deadline", daemon=True)
        self.watcher.start()

    def __enter__(self) -> Self:
        is_main = threading.current_thread() is threading.main_thread()
        taken = [number for number in SIGNALS if is_main and not _is_ignored_hang_up(number)]
        self.previous = {number: signal.signal(number, self.handle) for number in taken}
        return self

    def __exit__(self, *_: object) -> None:
        self.events.put("end")
        if self.watcher is not None:
            # It holds what ``overdue`` belongs to: a model freed by it while the interpreter ends aborts the process.
            self.watcher.join()
        for number, handler in self.previous.items():
            signal.signal(number, handler)

    def handle(self, number: int, frame: FrameType | None) -> None:
        name = signal.Signals(number)
        if self.signal is None:
            self.signal, self.since = name, time.monotonic()
            self.events.put("signal")
            return
        is_echo = name == self.signal != signal.SIGINT and time.monotonic() - self.since < ECHO
        if not is_echo and name.name != "SIGHUP":
            raise SystemExit(1)

    def __bool__(self) -> bool:
        return self.signal is not None

    @property
    def exit_code(self) -> int:
        """130 after SIGINT, 143 after the signals a scheduler sends, 0 after none."""
        if self.signal is None:
            return 0
        return 128 + (signal.SIGINT if self.signal == signal.SIGINT else signal.SIGTERM)


def _is_ignored_hang_up(number: signal.Signals) -> bool:
    return number.name == "SIGHUP" and signal.getsignal(number) == signal.SIG_IGN
