"""A rank of a real training run is lost: the others end and name it, the newest checkpoint is whole, and a restart
ends with the very bits of a run that lost nobody."""

from __future__ import annotations

import os
import signal
import socket
import sys
import time
from contextlib import suppress
from importlib.resources import files
from pathlib import Path
from typing import Any

import pytest
import torch
import worlds
from proxy import Proxy

from glassgpt.data.shards import write
from glassgpt.parallel.world import World
from glassgpt.tokenizer.tokenizer import Tokenizer
from glassgpt.tokenizer.vocabulary import BYTES
from glassgpt.training.config import RunConfig
from glassgpt.training.loop import train
from glassgpt.training.metrics import METRICS, read
from glassgpt.training.run import Run
from glassgpt.weights.checkpoint import Checkpoint, newest

CONFIG = RunConfig.model_validate(
    {
        "steps": 10,
        "batch_size": 4,
        "model": {"context_length": 16, "emb_dim": 32, "num_heads": 2, "num_layers": 2},
        "evaluation": {"every": 4, "windows": 6},
        "checkpoint": {"every": 4},
    }
)
LAST = 6  # the step before which rank 1 is lost; the newest checkpoint is that of step 4
TIMEOUT = 6.0


@pytest.fixture(scope="module")
def shards(tmp_path_factory) -> Path:
    text = files("glassgpt.data").joinpath("shakespeare.txt").read_text(encoding="utf-8")[:8_000]
    tokenizer, directory = Tokenizer(BYTES), tmp_path_factory.mktemp("shards")
    ids = tokenizer.encode(text)
    write(
        directory, {"train": [ids[:-500]], "val": [ids[-500:]]}, tokenizer.vocab_size, tokenizer.eot, tokenizer.sha256
    )
    return directory


def run_training(world: World, shards: Path, directory: Path, resume: bool = False, loses: str = "") -> int:
    """Trains; before the step ``LAST`` rank 1 waits to be lost, or closes its connections."""
    run = Run(CONFIG, Tokenizer(BYTES), shards, world)
    at = run.batches.at

    def batch(step: int) -> Any:
        if loses and world.rank == 1 and step == LAST:
            while world.doing != f"step {LAST}":  # batches are made ahead; the step before is to end
                time.sleep(0.01)
            print("under way", file=sys.stderr, flush=True)
            if loses == "connections":
                close_connections()
            else:
                time.sleep(1000)
        return at(step)

    run.batches.at = batch
    return train(run, directory, resume=resume)


def close_connections() -> None:
    """What a broken cable and a restarted switch do to a process: its connections are reset."""
    for path in Path("/proc/self/fd").iterdir():
        with suppress(OSError), socket.socket(fileno=os.dup(int(path.name))) as connection:
            if connection.family in (socket.AF_INET, socket.AF_INET6):
                connection.shutdown(socket.SHUT_RDWR)


@pytest.fixture(scope="module")
def whole(shards, tmp_path_factory) -> Path:
    """The run that nobody disturbs."""
    directory = tmp_path_factory.mktemp("whole")
    assert worlds.run(run_training, 2, shards, directory) == [0, 0]
    return directory


def numbers(directory: Path) -> list[dict[str, Any]]:
    return [
        {name: line[name] for name in ("step", "loss", "grad_norm", "val_loss") if name in line}
        for line in read(directory / METRICS)
    ]


@pytest.mark.skipif(sys.platform != "linux", reason="signals and /proc as on Linux")
@pytest.mark.parametrize("fault", ["killed", "stopped", "parted", "connections"])
def test_a_lost_rank_is_named_and_costs_no_committed_step(shards, whole, tmp_path, fault):
    log, lines = tmp_path / "log", []

    def route(rank: int, port: int) -> int:
        if fault != "parted" or rank == 0:
            return port
        lines.append(Proxy(port))
        return lines[0].port

    directory = tmp_path / "run"
    directory.mkdir()
    arguments = (shards, directory, False, fault)
    with worlds.started(run_training, 2, *arguments, log=log, route=route, timeout=TIMEOUT) as ranks:
        deadline = time.monotonic() + 100
        while not log.exists() or "under way" not in log.read_text():
            assert time.monotonic() < deadline, log.read_text() if log.exists() else "nothing was printed"
            time.sleep(0.05)
        lost = ranks[1].process
        if fault == "killed":
            os.kill(lost.pid, signal.SIGKILL)
        elif fault == "stopped":
            os.kill(lost.pid, signal.SIGSTOP)
        elif fault == "parted":
            lines[0].cut()
        assert ranks[0].exit_code(60) == 1
        if fault == "stopped":
            os.kill(lost.pid, signal.SIGCONT)  # it finds the others gone, and goes, too
        # gloo aborts a process whose own connections were shut
        assert ranks[1].exit_code(60) in {"killed": [-signal.SIGKILL], "connections": [1, -signal.SIGABRT]}.get(
            fault, [1]
        )
    for line in lines:
        line.close()

    said = log.read_text()
    assert "rank 0, at step" in said and "stops: rank 1" in said, said
    if fault in ("killed", "stopped"):
        assert f"rank 1 (process {lost.pid}" in said
    checkpoint = newest(directory / "checkpoints")
    assert checkpoint is not None and checkpoint.step == 4
    checkpoint.verify()

    assert worlds.run(run_training, 2, shards, directory, True) == [0, 0]
    assert numbers(directory) == numbers(whole)
    ends = [Checkpoint.open(run / "checkpoints" / "step-00000010") for run in (directory, whole)]
    for name in ("model.safetensors", "training/optimizer.safetensors"):
        assert ends[0].read(name) == ends[1].read(name)


def test_the_faults_would_be_seen(whole):
    """The comparison above is one of many numbers, not of nothing."""
    losses = torch.tensor([line["loss"] for line in numbers(whole) if "loss" in line])
    assert len(losses) == CONFIG.steps and len(losses.unique()) == CONFIG.steps
