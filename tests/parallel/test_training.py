"""A run in several processes: the same samples and curves as in one, and checkpoints that any number can continue."""

from __future__ import annotations

import json
import os
import signal
from importlib.resources import files
from pathlib import Path
from typing import Any

import pytest
import torch
import worlds

from glassgpt.data.shards import write
from glassgpt.parallel.world import World
from glassgpt.tokenizer.tokenizer import Tokenizer
from glassgpt.tokenizer.vocabulary import BYTES
from glassgpt.training.config import RunConfig
from glassgpt.training.hooks import Event, Update
from glassgpt.training.loop import train
from glassgpt.training.metrics import METRICS, read
from glassgpt.training.run import Run
from glassgpt.weights.checkpoint import Checkpoint
from glassgpt.weights.files import read as read_tensors

TINY: dict[str, Any] = {
    "steps": 8,
    "batch_size": 8,
    "micro_batch": 2,
    "model": {"context_length": 16, "emb_dim": 32, "num_heads": 2, "num_layers": 2},
    "evaluation": {"every": 4, "windows": 6},
    "checkpoint": {"every": 4},
}
DDP, FSDP, TENSOR = {"data": "ddp"}, {"data": "fsdp"}, {"data": "fsdp", "tensor": 2}
BITS = {"rtol": 2e-5, "atol": 1e-5}  # a hundredth of an update: where a gradient is tiny, AdamW magnifies its rounding


@pytest.fixture(scope="session")
def shards(tmp_path_factory) -> Path:
    text = files("glassgpt.data").joinpath("shakespeare.txt").read_text(encoding="utf-8")[:12_000]
    tokenizer, directory = Tokenizer(BYTES), tmp_path_factory.mktemp("shards")
    ids = tokenizer.encode(text)
    splits = {"train": [ids[:-1000]], "val": [ids[-1000:]]}
    write(directory, splits, tokenizer.vocab_size, tokenizer.eot, tokenizer.sha256)
    return directory


def run_training(
    world: World, shards: Path, directory: Path, changes: dict[str, Any], resume: bool = False, stop_at: int = -1
) -> int:
    run = Run(RunConfig.model_validate({**TINY, **changes}), Tokenizer(BYTES), shards, world)
    seen = directory / f"samples-{world.rank}.jsonl"
    at = run.batches.at

    def recorded(step: int):
        if step == stop_at and world.rank == world.size - 1:  # SIGTERM reaches one rank only
            os.kill(os.getpid(), signal.SIGTERM)
        size = run.config.batch_size // run.num_replicas
        with seen.open("a") as file:
            file.write(json.dumps([step, run.batches.indices(step, run.replica * size, size).tolist()]) + "\n")
        return at(step)

    run.batches.at = recorded
    return train(run, directory, resume=resume)


def launch(size: int, shards: Path, directory: Path, parallel: dict[str, Any], **more: Any) -> list[int]:
    directory.mkdir(exist_ok=True)
    changes = {"parallel": parallel, **more.pop("changes", {})}
    arguments = (shards, directory, changes, more.get("resume", False), more.get("stop_at", -1))
    if size == 1:
        return [run_training(World(), *arguments)]
    return worlds.run(run_training, size, *arguments)


def curve(directory: Path) -> torch.Tensor:
    lines = read(directory / METRICS)
    return torch.tensor([[line["loss"], line["grad_norm"]] for line in lines if "loss" in line])


def held_out(directory: Path) -> torch.Tensor:
    return torch.tensor([line["val_loss"] for line in read(directory / METRICS) if "val_loss" in line])


def learnt(directory: Path, step: int = 8) -> dict[str, torch.Tensor]:
    path = directory / "checkpoints" / f"step-{step:08d}"
    Checkpoint.open(path).verify()
    return read_tensors(path / "model.safetensors") | read_tensors(path / "training" / "optimizer.safetensors")


def samples(directory: Path, tensor: int = 1) -> dict[int, list[int]]:
    """The windows of each step, in order of the replicas."""
    found: dict[int, list[int]] = {}
    for path in sorted(directory.glob("samples-*.jsonl"))[::tensor]:
        for step, windows in map(json.loads, path.read_text().splitlines()):
            found.setdefault(step, []).extend(windows)
    return found


@pytest.fixture(scope="session")
def alone(shards, tmp_path_factory) -> Path:
    """The run of one process."""
    directory = tmp_path_factory.mktemp("alone")
    assert launch(1, shards, directory, DDP) == [0]
    return directory


@pytest.mark.parametrize(("size", "parallel"), [(2, DDP), (2, FSDP), (4, TENSOR)], ids=str)
def test_a_run_of_several_processes_is_the_run_of_one(shards, alone, tmp_path, size, parallel):
    assert launch(size, shards, tmp_path, parallel) == [0] * size
    assert samples(tmp_path, parallel.get("tensor", 1)) == samples(alone)
    torch.testing.assert_close(curve(tmp_path), curve(alone), rtol=1e-5, atol=0)
    torch.testing.assert_close(held_out(tmp_path), held_out(alone), rtol=1e-5, atol=0)
    assert learnt(tmp_path).keys() == learnt(alone).keys()
    for name, value in learnt(alone).items():
        torch.testing.assert_close(learnt(tmp_path)[name], value, **BITS)
    assert not list(tmp_path.glob("checkpoints/.stage-*"))


@pytest.mark.parametrize(("size", "parallel"), [(1, DDP), (4, FSDP)], ids=str)
def test_a_checkpoint_of_two_processes_opens_in_another_world(shards, alone, tmp_path, size, parallel):
    """The signal reaches rank 1 alone; both stop after the same step and the main rank saves it."""
    assert launch(2, shards, tmp_path, FSDP, stop_at=6) == [143, 143]
    stopped = max(int(path.name.removeprefix("step-")) for path in tmp_path.glob("checkpoints/step-*"))
    assert 4 < stopped <= 6
    assert launch(size, shards, tmp_path, parallel, resume=True) == [0] * size
    torch.testing.assert_close(curve(tmp_path), curve(alone), rtol=1e-5, atol=0)
    for name, value in learnt(alone).items():
        torch.testing.assert_close(learnt(tmp_path)[name], value, **BITS)


def test_continued_at_the_same_size_it_is_the_same_to_the_last_bit(shards, tmp_path):
    launch(2, shards, tmp_path / "whole", FSDP)
    launch(2, shards, tmp_path / "parts", FSDP, stop_at=5)
    launch(2, shards, tmp_path / "parts", FSDP, resume=True)
    assert torch.equal(curve(tmp_path / "parts"), curve(tmp_path / "whole"))
    assert all(
        torch.equal(learnt(tmp_path / "parts")[name], value) for name, value in learnt(tmp_path / "whole").items()
    )


def spoil(world: World, shards: Path, directory: Path) -> str:
    """One number on rank 1 becomes NaN after two steps."""
    run = Run(RunConfig.model_validate({**TINY, "parallel": FSDP}), Tokenizer(BYTES), shards, world)
    at = run.batches.at

    def poisoned(step: int):
        if step == 3 and world.rank == 1:
            run.model.final_norm.weight.to_local().data[0] = float("nan")
        return at(step)

    run.batches.at = poisoned
    with pytest.raises(FloatingPointError) as error:
        train(run, directory)
    return str(error.value)


def test_nan_on_one_rank_stops_all_before_the_update(shards, tmp_path):
    messages = worlds.run(spoil, 2, shards, tmp_path)
    assert messages[0] == messages[1]
    assert "is not finite" in messages[0]
    assert not list(tmp_path.glob("checkpoints/step-*"))


@pytest.mark.parametrize("size", [2, 4])
def test_in_bfloat16_micro_batches_add_up_in_float32(shards, tmp_path, size):
    """DDP and FSDP2 cast the same weights; FSDP2 also casts what enters a block, so they agree to bfloat16's digits."""
    for parallel in (DDP, FSDP):
        directory = tmp_path / parallel["data"]
        assert launch(size, shards, directory, parallel, changes={"precision": "bfloat16"}) == [0] * size
    torch.testing.assert_close(curve(tmp_path / "ddp"), curve(tmp_path / "fsdp"), rtol=1e-2, atol=0)


def build(world: World, shards: Path, changes: dict[str, Any]) -> str:
    with pytest.raises(ValueError) as error:
        Run(RunConfig.model_validate({**TINY, **changes}), Tokenizer(BYTES), shards, world)
    return str(error.value)


def test_a_batch_that_cannot_be_divided_is_refused(shards):
    for message in worlds.run(build, 3, shards, {}):
        assert message.startswith("a batch of 8 cannot be divided over 3 ranks")


def test_events_are_told_to_the_main_rank_alone(shards, tmp_path):
    told: list[Event] = []
    run = Run(RunConfig.model_validate(TINY), Tokenizer(BYTES), shards)
    train(run, tmp_path, [told.append])
    assert sum(isinstance(event, Update) for event in told) == 8
