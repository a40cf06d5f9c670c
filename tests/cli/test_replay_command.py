"""``glassgpt replay``: the batch of a step, shown and as JSON."""

from __future__ import annotations

import json
from importlib.resources import files
from pathlib import Path

import pytest

from glassgpt.cli.main import main

TINY = [
    "--model.context-length", "16", "--model.emb-dim", "32", "--model.num-heads", "2", "--model.num-layers", "1",
    "--data.vocab-size", "300", "--batch-size", "4", "--steps", "12", "--checkpoint.every", "5",
]  # fmt: skip


@pytest.fixture(autouse=True)
def run(tmp_path, monkeypatch, capsys) -> Path:
    """A run of 12 steps with checkpoints at 10 and 12."""
    monkeypatch.chdir(tmp_path)
    text = files("glassgpt.data").joinpath("shakespeare.txt").read_text(encoding="utf-8")[:30_000]
    Path("my.txt").write_text(text, encoding="utf-8")
    assert main(["train", "my.txt", *TINY]) == 0
    capsys.readouterr()
    return Path("runs/my")


def test_windows_are_shown_with_their_losses(capsys):
    assert main(["replay", "runs/my", "--step", "12", "--windows", "3"]) == 0
    shown = capsys.readouterr().out
    assert "step 12 of runs/my: 4 windows of 16 tokens, epoch 0" in shown
    assert "losses by runs/my/checkpoints/step-00000010, 1 update before the batch" in shown
    assert shown.count("deviations)") == 3 and "1 more: --windows 4, or --json" in shown
    assert "document 1, from its token" in shown


def test_without_an_earlier_checkpoint_the_text_remains(capsys):
    assert main(["replay", "runs/my", "--step", "3"]) == 0
    shown = capsys.readouterr().out
    assert "no losses: no checkpoint from before it is left" in shown
    assert shown.count("\nwindow ") == 4


def test_json_has_every_window(capsys):
    assert main(["replay", "runs/my", "--step", "11", "--json"]) == 0
    answer = json.loads(capsys.readouterr().out)
    assert (answer["step"], answer["updates_since"], answer["data_verified"]) == (11, 0, True)
    losses = [window["loss"] for window in answer["windows"]]
    assert losses == sorted(losses, reverse=True)
    assert sum(losses) / 4 == pytest.approx(answer["recorded_loss"], rel=1e-5)
    assert {"row", "window", "start", "file", "file_start", "pieces", "loss", "score"} == answer["windows"][0].keys()


def test_changed_tokens_are_refused(run, capsys):
    path = run / "data" / "tokens_train_000000.bin"
    path.write_bytes(path.read_bytes()[:-2] + b"\x01\x00")
    assert main(["replay", "runs/my", "--step", "11"]) == 1
    assert "the file was changed or damaged" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["runs/my", "--step", "13"], 1, "step 13 is not one of the run's: choose 1 to 12"),
        (["runs/my", "--step", "0"], 2, "Must be >= 1"),
        (["runs", "--step", "1"], 1, "runs is not a run: it has no config.toml"),
    ],
)
def test_what_cannot_be_replayed_is_refused(arguments, code, message, capsys):
    assert main(["replay", *arguments]) == code
    assert message in capsys.readouterr().err
