"""A storage somebody stands in front of: every system call can be counted, left out, torn, failed or fatal."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from glassgpt.training.storage import Storage

CHANGES = (
    "create",
    "write",
    "sync",
    "close",
    "make_directory",
    "sync_directory",
    "rename",
    "unlink",
    "remove_directory",
)


@dataclass(frozen=True)
class Call:
    """One system call about to be made, the ``number``-th of its storage; ``make`` makes it."""

    number: int
    name: str
    arguments: tuple[Any, ...]
    make: Callable[..., Any]


Watch = Callable[[Call], Any]


class Watched(Storage):
    """A storage whose calls are made by ``watch``, or not; without one it only counts."""

    def __init__(self, watch: Watch = lambda call: call.make(*call.arguments)) -> None:
        self.watch = watch
        self.calls: list[str] = []


def _watched(name: str) -> Callable[..., Any]:
    def method(self: Watched, *arguments: Any) -> Any:
        self.calls.append(name)
        return self.watch(Call(len(self.calls) - 1, name, arguments, getattr(Storage(), name)))

    return method


for _name in CHANGES:
    setattr(Watched, _name, _watched(_name))


def kill_at(number: int, torn: bool = False) -> Watch:
    """Kills the process before call ``number``; if ``torn``, and the call is a write, when half of it is done."""

    def watch(call: Call) -> Any:
        if call.number == number:
            if torn and call.name == "write":
                fd, data = call.arguments
                call.make(fd, data[: len(data) // 2])
            os.kill(os.getpid(), signal.SIGKILL)
        return call.make(*call.arguments)

    return watch


def fail_at(number: int, code: int, full: bool = False) -> Watch:
    """Fails call ``number`` with the errno ``code``; if ``full``, everything that takes space fails from there on."""

    def watch(call: Call) -> Any:
        if call.number == number or (
            full and call.number > number and call.name in ("create", "write", "make_directory")
        ):
            if call.name == "close":  # the kernel closes the descriptor even when it reports an error
                call.make(*call.arguments)
            raise OSError(code, os.strerror(code))
        return call.make(*call.arguments)

    return watch


def leave_out(*names: str) -> Watch:
    """Never makes the calls of these names, and says that they went well."""
    return lambda call: None if call.name in names else call.make(*call.arguments)


def write_short(call: Call) -> Any:
    """Lets the kernel take a third of every write."""
    if call.name != "write":
        return call.make(*call.arguments)
    fd, data = call.arguments
    return call.make(fd, data[: len(data) // 3 + 1])
