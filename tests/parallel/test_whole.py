"""Files that the main rank writes and reads are the same in every world."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
import worlds
from torch import Tensor

from glassgpt.model.config import ModelConfig
from glassgpt.model.gpt import GPT, initialize
from glassgpt.parallel.config import ParallelConfig
from glassgpt.parallel.plan import parallelize
from glassgpt.parallel.whole import WholeParameters, fill, gather, whole
from glassgpt.parallel.world import World
from glassgpt.training.loss import NextTokenLoss
from glassgpt.weights.files import chunks

CONFIG = ModelConfig(vocab_size=257, context_length=16, emb_dim=24, num_heads=2, num_layers=2)
LAYOUTS = {
    2: ParallelConfig(data="fsdp", tensor=2),
    3: ParallelConfig(data="fsdp"),
    4: ParallelConfig(data="fsdp", tensor=2),
}


def build(world: World) -> GPT:
    """A model that never exists whole: its shape alone is divided, then every rank gets memory for its parts."""
    with torch.device("meta"):
        model = GPT(CONFIG)
    parallelize(NextTokenLoss(model), world, LAYOUTS.get(world.size, ParallelConfig()))
    return model.to_empty(device="cpu")


def state(model: GPT) -> dict[str, Tensor]:
    return {name: whole(parameter) for name, parameter in model.named_parameters()}


def initialized(world: World) -> dict[str, Tensor]:
    model = build(world)
    initialize(WholeParameters(model), seed=1)
    return state(model)


@pytest.mark.parametrize("size", [2, 3, 4])
def test_a_model_starts_with_the_same_weights_in_every_world(size):
    expected = initialize(GPT(CONFIG), seed=1).state_dict()
    for found in worlds.run(initialized, size):
        assert found.keys() == expected.keys()
        assert all(torch.equal(found[name], expected[name]) for name in expected)


def write(world: World, path: Path) -> list[str]:
    """Every rank passes its parts, the main one writes."""
    model = build(world)
    initialize(WholeParameters(model), seed=1)
    parameters = dict(model.named_parameters())

    def work(fetch) -> list[str]:
        with path.open("wb") as file:
            file.writelines(chunk for name in parameters for chunk in chunks({name: fetch(name)}))
        return list(parameters)

    return gather(world, parameters, work)


def test_every_world_writes_the_same_bytes(tmp_path):
    assert write(World(), tmp_path / "1") == list(GPT(CONFIG).state_dict())
    for size in (2, 4):
        assert worlds.run(write, size, tmp_path / str(size)) == [list(GPT(CONFIG).state_dict())] * size
    assert (tmp_path / "1").read_bytes() == (tmp_path / "2").read_bytes() == (tmp_path / "4").read_bytes()


def filled(world: World, values: dict[str, Tensor]) -> dict[str, Tensor]:
    model = build(world)
    source = values.__getitem__ if world.is_main else None  # nobody else is asked
    fill(world, dict(model.named_parameters()), source)
    return state(model)


@pytest.mark.parametrize("size", [2, 4])
def test_every_rank_gets_its_part_of_what_the_main_rank_reads(size):
    values = initialize(GPT(CONFIG), seed=2).state_dict()
    for found in worlds.run(filled, size, values):
        assert all(torch.equal(found[name], values[name]) for name in values)
