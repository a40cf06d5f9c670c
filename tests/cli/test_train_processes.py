"""``glassgpt train`` in several processes, as users start them: one run, told by one rank, continued by any number."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from importlib.resources import files
from pathlib import Path

import pytest
import torch

from glassgpt.cli.main import main
from glassgpt.training.metrics import METRICS, read
from glassgpt.weights.checkpoint import Checkpoint

TINY = [
    "--model.context-length", "16", "--model.emb-dim", "32", "--model.num-heads", "2", "--model.num-layers", "2",
    "--data.vocab-size", "300", "--batch-size", "4", "--checkpoint.every", "4", "--evaluation.every", "4",
    "--device", "cpu",
]  # fmt: skip
TORCHRUN = [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node", "2"]
ENVIRONMENT = {**os.environ, "OMP_NUM_THREADS": "1"}


@pytest.fixture(autouse=True)
def text(tmp_path, monkeypatch) -> Path:
    """An empty working directory but for ``my.txt``, a few pages of Romeo and Juliet."""
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "my.txt"
    path.write_text(files("glassgpt.data").joinpath("shakespeare.txt").read_text(encoding="utf-8")[:12_000])
    return path


def run(*command: str) -> subprocess.CompletedProcess[str]:
    done = subprocess.run(command, env=ENVIRONMENT, capture_output=True, text=True, timeout=200)
    assert done.returncode == 0, done.stderr
    return done


def curve(directory: str) -> torch.Tensor:
    return torch.tensor([line["loss"] for line in read(Path(directory) / METRICS) if "loss" in line])


def test_torchrun_trains_the_run_of_one_process_and_only_the_main_rank_speaks():
    both = run(*TORCHRUN, "-m", "glassgpt", "train", "my.txt", *TINY, "--steps", "8")
    assert both.stdout.count("8 steps, 512 tokens") == 1
    assert both.stdout.count("next: glassgpt generate") == 1
    assert both.stderr.count("2 x cpu, ddp") == 1
    assert main(["train", "my.txt", *TINY, "--steps", "8", "--name", "alone"]) == 0
    torch.testing.assert_close(curve("runs/my"), curve("runs/alone"), rtol=1e-5, atol=0)


def test_saved_by_two_processes_and_continued_by_one(caplog):
    glassgpt = [sys.executable, "-m", "glassgpt", "train"]
    both = run(*glassgpt, "my.txt", *TINY, "--steps", "8", "--processes", "2", "--json")
    assert json.loads(both.stdout)["steps"] == 8
    Checkpoint.open(Path("runs/my/checkpoints/step-00000008")).verify()
    assert main(["train", "runs/my", "--resume", "--steps", "12"]) == 0
    assert "world_size: 2 -> 1" in caplog.text
    assert [line["step"] for line in read(Path("runs/my") / METRICS) if "loss" in line] == list(range(1, 13))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--gpus", "99"], "--gpus 99: this machine has"),
        (["--gpus", "2", "--processes", "2"], "leave out --processes"),
        (["--processes", "0"], "Must be >= 1"),
    ],
)
def test_what_cannot_be_started_is_refused(arguments, message, capsys):
    assert main(["train", "my.txt", *TINY, *arguments]) == 2
    assert message in capsys.readouterr().err


@pytest.mark.skipif(torch.accelerator.is_available(), reason="this machine has a GPU")
def test_without_gpus_the_way_to_the_cpu_is_named(capsys):
    assert main(["train", "my.txt", *TINY, "--gpus", "2"]) == 2
    assert "this machine has 0; choose --processes 2, which train on its CPU" in capsys.readouterr().err
