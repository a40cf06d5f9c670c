"""A rank that dies, hangs or fails ends all others in bounded time, and they name it."""

from __future__ import annotations

import ctypes
import os
import signal
import sys
import time
from pathlib import Path

import pytest
import torch
import worlds

from glassgpt.parallel.world import World


def sum_for_ever(world: World) -> None:
    """What a training run looks like from here."""
    step = 0
    while True:
        step += 1
        world.doing = f"step {step}"
        world.sum(torch.ones(2))
        if step == 10:
            world.hurry()
            print("under way", file=sys.stderr, flush=True)
        time.sleep(0.01)


def wait_in_the_data(world: World) -> None:
    """Waits where no collective notices that another rank is gone."""
    world.doing = "step 1, waiting for data"
    print("under way", file=sys.stderr, flush=True)
    time.sleep(1000)


def hold_the_gil(world: World) -> None:
    """Rank 1 enters a C function that never gives the GIL back."""
    world.doing = "step 1"
    print("under way", file=sys.stderr, flush=True)
    if world.rank == 1:
        ctypes.PyDLL(None).sleep(1000)
    world.barrier()


def fail_on_rank_1(world: World) -> None:
    print("under way", file=sys.stderr, flush=True)
    if world.rank == 1:
        raise ValueError("this rank has no data")
    time.sleep(1000)


def wait_until_under_way(log: Path, ranks: int) -> None:
    deadline = time.monotonic() + 60
    while not log.exists() or log.read_text().count("under way") < ranks:
        assert time.monotonic() < deadline, log.read_text()
        time.sleep(0.1)


@pytest.mark.parametrize("function", [sum_for_ever, wait_in_the_data])
@pytest.mark.parametrize("lost", [0, 1])
def test_a_killed_rank_ends_the_others(tmp_path, function, lost):
    log = tmp_path / "log"
    with worlds.started(function, 2, log=log) as ranks:
        wait_until_under_way(log, 2)
        os.kill(ranks[lost].process.pid, signal.SIGKILL)
        assert ranks[1 - lost].exit_code(seconds=10) == 1
    if lost == 1:
        assert f"rank 1 (process {ranks[1].process.pid} on" in log.read_text()
    else:  # who keeps the store is missed at once, but cannot be asked where it was
        assert "rank 0" in log.read_text()


def test_a_stopped_rank_ends_the_others(tmp_path):
    log = tmp_path / "log"
    with worlds.started(sum_for_ever, 3, log=log, timeout=6) as ranks:
        wait_until_under_way(log, 3)
        os.kill(ranks[1].process.pid, signal.SIGSTOP)
        assert [ranks[0].exit_code(20), ranks[2].exit_code(20)] == [1, 1]
    assert f"rank 1 (process {ranks[1].process.pid}" in log.read_text()
    assert "has been silent for 4 s" in log.read_text()


def test_a_rank_that_never_releases_the_gil_shows_where_it_hangs(tmp_path):
    log = tmp_path / "log"
    with worlds.started(hold_the_gil, 2, log=log, timeout=4) as ranks:
        assert [rank.exit_code(20) for rank in ranks] == [1, 1]
    assert "in hold_the_gil" in log.read_text()


def test_a_rank_that_fails_ends_the_others(tmp_path):
    log = tmp_path / "log"
    with worlds.started(fail_on_rank_1, 2, log=log) as ranks:
        assert [rank.exit_code(20) for rank in ranks] == [1, 1]
    assert "rank 1 failed: ValueError: this rank has no data" in log.read_text()
