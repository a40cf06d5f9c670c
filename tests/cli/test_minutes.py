"""``glassgpt train --minutes``: one number becomes a whole run, and what contradicts it is refused."""

from __future__ import annotations

import json
import tomllib
from importlib.resources import files
from pathlib import Path

import pytest

from glassgpt.cli.main import main

TINY = ["--model.emb-dim", "32", "--model.num-heads", "2", "--model.num-layers", "1", "--data.vocab-size", "300"]


@pytest.fixture(autouse=True)
def text(tmp_path, monkeypatch) -> Path:
    """An empty working directory but for ``my.txt``, a few scenes of Romeo and Juliet."""
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "my.txt"
    path.write_text(files("glassgpt.data").joinpath("shakespeare.txt").read_text(encoding="utf-8")[:60_000])
    return path


def test_a_number_of_minutes_becomes_a_run_that_can_be_resumed(capsys):
    assert main(["train", "my.txt", "--minutes", "0.2", *TINY, "--seed", "7", "--batch-size", "6", "--json"]) == 0
    shown = capsys.readouterr()
    result = json.loads(shown.out)
    assert result["seconds_asked"] == 12 and result["seconds_taken"] > 0
    assert "1 blocks, 2 heads, 32 wide" in shown.err and "tokens of 300 kinds, read" in shown.err
    config = tomllib.loads(Path("runs/my/config.toml").read_text())
    assert config["steps"] == result["steps"] >= 20
    assert (config["seed"], config["model"]["emb_dim"], config["optimizer"]["name"]) == (7, 32, "muon")
    assert config["batch_size"] == 6 and 6 % config["micro_batch"] == 0
    assert main(["train", "runs/my", "--resume", "--steps", str(result["steps"] + 2)]) == 0


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["my.txt", "--minutes", "0"], 2, "--minutes 0 is no time to train in: give some, such as --minutes 10"),
        (["my.txt", "--minutes", "-3"], 2, "is no time to train in"),
        (["my.txt", "--minutes", "nan"], 2, "is no time to train in"),
        (["my.txt", "--minutes", "1", "--steps", "9"], 2, "--minutes decides steps: leave out --steps, or --minutes"),
        (["my.toml", "--minutes", "1"], 2, "--minutes chooses the settings itself: name texts"),
        (["--minutes", "1"], 2, "name texts, as in glassgpt train my.txt --minutes 10"),
        (["my.txt", "--minutes", "1", "--processes", "2"], 2, "--minutes is for a new run in one process"),
        (["my.txt", "--minutes", "1", "--resume"], 2, "--minutes is for a new run in one process"),
        (["my.txt", "--minutes", "0.001", *TINY], 1, "too few to learn from: give more --minutes"),
        (["absent.txt", "--minutes", "1"], 1, "absent.txt: no such file or directory"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else None,
)
def test_what_cannot_be_is_said_before_anything_is_trained(arguments, code, message, capsys):
    assert main(["train", *arguments]) == code
    assert message in capsys.readouterr().err
    assert not Path("runs/my").exists()


def test_a_text_too_small_is_refused(text, capsys):
    text.write_text("to be or not to be " * 20)
    assert main(["train", "my.txt", "--minutes", "1"]) == 1
    assert "give at least some 20 KB" in capsys.readouterr().err
    assert not Path("runs/my").exists()


def test_a_run_is_never_overwritten(capsys):
    Path("runs/my").mkdir(parents=True)
    Path("runs/my/config.toml").write_text("")
    assert main(["train", "my.txt", "--minutes", "1"]) == 1
    assert "runs/my holds a run" in capsys.readouterr().err
