"""Who is there, and what the ranks tell each other."""

from __future__ import annotations

from typing import Any

import pytest
import torch
import worlds

from glassgpt.parallel.world import World, own_device

TORCHRUN = {
    "RANK": "5", "WORLD_SIZE": "8", "LOCAL_RANK": "1", "LOCAL_WORLD_SIZE": "4",
    "MASTER_ADDR": "node-0", "MASTER_PORT": "29500",
}  # fmt: skip


def test_torchrun_describes_a_world():
    world = World.from_environment(TORCHRUN)
    assert (world.rank, world.size, world.local_rank, world.local_size) == (5, 8, 1, 4)
    assert world.address == ("node-0", 29500)
    assert not world.is_main


def test_a_process_on_its_own_is_a_world():
    world = World.from_environment({"PATH": "/bin"})
    assert (world.rank, world.size, world.is_main) == (0, 1, True)
    with world.joined(torch.device("cpu")):
        x = torch.tensor([1.5, -2.0])
        assert torch.equal(world.sum(x), x) and torch.equal(world.mean(x), x) and torch.equal(world.broadcast(x), x)
        assert world.max(7) == 7 and world.any(True) and not world.any(False)
        assert world.from_main({"a": [1]}) == {"a": [1]}
        world.hurry()
        world.barrier()


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"MASTER_PORT": None}, "the environment has no MASTER_PORT: start with torchrun"),
        ({"RANK": "first"}, "must be whole numbers"),
        ({"RANK": "8"}, "rank 8 of 8"),
        ({"LOCAL_WORLD_SIZE": "16"}, "1 of 16"),
    ],
)
def test_an_environment_that_cannot_be_is_refused(changes, message):
    environment = {name: value for name, value in {**TORCHRUN, **changes}.items() if value is not None}
    with pytest.raises(ValueError, match=message):
        World.from_environment(environment)


def test_more_processes_than_accelerators_are_refused():
    with pytest.raises(ValueError, match="64 processes need a cuda device each"):
        own_device(torch.device("cuda"), local_rank=0, local_size=64)


def talk(world: World) -> dict[str, Any]:
    number = torch.tensor([float(world.rank), 1.0])
    return {
        "sum": world.sum(number).tolist(),
        "mean": world.mean(number).tolist(),
        "max": world.max(10 * world.rank),
        "any": [world.any(False), world.any(world.rank == 2)],
        "from_main": world.from_main({"rank": world.rank, "text": "é" * 1000}),
        "broadcast": world.broadcast(world.rank + torch.arange(6).view(3, 2).T).tolist(),
        "own": number.tolist(),
    }


def test_ranks_agree():
    heard = worlds.run(talk, 3)
    assert [one.pop("own") for one in heard] == [[0.0, 1.0], [1.0, 1.0], [2.0, 1.0]]
    assert heard[0] == heard[1] == heard[2] == {
        "sum": [3.0, 3.0],
        "mean": [1.0, 1.0],
        "max": 20,
        "any": [False, True],
        "from_main": {"rank": 0, "text": "é" * 1000},
        "broadcast": [[0, 2, 4], [1, 3, 5]],
    }  # fmt: skip
