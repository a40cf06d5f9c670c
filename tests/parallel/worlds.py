"""Real worlds for tests: ``run(function, size, ...)`` calls a test file's function in processes that have joined."""

from __future__ import annotations

import os
import pickle
import runpy
import socket
import sys
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from multiprocessing import get_context
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

import torch

from glassgpt.parallel.world import World

# A server that has imported everything forks the ranks: each starts in milliseconds, without this process's threads.
context = get_context("forkserver")
context.set_forkserver_preload(["torch.distributed.launcher.api", "glassgpt.parallel.plan", "glassgpt.training.loop"])


def run(function: Callable[..., Any], size: int, *arguments: Any, seconds: float = 100, **timeouts: float) -> list[Any]:
    """What ``function(world, *arguments)`` returns on each of ``size`` ranks.

    Raises:
        AssertionError: a rank failed, or they took too long.
    """
    with started(function, size, *arguments, **timeouts) as ranks:
        return [rank.result(seconds) for rank in ranks]


@contextmanager
def started(
    function: Callable[..., Any],
    size: int,
    *arguments: Any,
    log: Path | None = None,
    route: Callable[[int, int], int] = lambda rank, port: port,
    **timeouts: float,
) -> Iterator[list[Rank]]:
    """The same, while the ranks run; none outlives the block. What they print to stderr goes to ``log``. A rank reaches
    the main one, which listens on ``port``, through ``route(rank, port)``."""
    with socket.create_server(("localhost", 0)) as server:
        port = server.getsockname()[1]
    ranks = []
    try:
        for number in range(size):
            environment = {
                "RANK": number, "LOCAL_RANK": number, "WORLD_SIZE": size, "LOCAL_WORLD_SIZE": size,
                "MASTER_ADDR": "localhost", "MASTER_PORT": route(number, port),
            }  # fmt: skip
            receiver, sender = context.Pipe(duplex=False)
            place = function.__code__.co_filename, function.__name__
            job = (sender, place, {name: str(value) for name, value in environment.items()}, arguments, timeouts, log)
            process = context.Process(target=main, args=job, daemon=True)
            process.start()
            sender.close()
            ranks.append(Rank(process, receiver))
        yield ranks
    finally:
        for rank in ranks:
            rank.process.kill()
        for rank in ranks:
            rank.process.join()


class Rank:
    """One process of a world, seen from outside."""

    def __init__(self, process: BaseProcess, receiver: Connection):
        self.process = process
        self.receiver = receiver

    def result(self, seconds: float = 100) -> Any:
        assert wait([self.receiver, self.process.sentinel], seconds), f"no result after {seconds} s"
        assert self.receiver.poll(), f"a rank ended with exit code {self.exit_code()}"
        return pickle.loads(self.receiver.recv_bytes())

    def exit_code(self, seconds: float = 100) -> int | None:
        self.process.join(seconds)
        return self.process.exitcode


def main(
    sender: Connection, place: tuple[str, str], environment: dict[str, str],
    arguments: Sequence[Any], timeouts: dict[str, float], log: Path | None,
) -> None:  # fmt: skip
    """One rank: joins, calls the function, sends back what it returns."""
    if log is not None:
        os.dup2(os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND), sys.stderr.fileno())
    os.environ.update(environment)
    torch.set_num_threads(1)
    warnings.simplefilter("error")
    file, name = place
    function = runpy.run_path(file)[name]
    with World.from_environment().joined(torch.device("cpu"), **timeouts) as world:
        result = function(world, *arguments)
    sender.send_bytes(pickle.dumps(result))  # send() would share memory that ends with this process
