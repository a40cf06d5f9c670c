"""``glassgpt demo``: trains, draws and writes; takes up what is there. Shortened here by options."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from glassgpt.cli.main import main
from glassgpt.weights.checkpoint import newest

SHORT = ["--model.emb-dim", "32", "--model.num-layers", "1", "--batch-size", "2", "--data.vocab-size", "300"]


@pytest.fixture(autouse=True)
def directory(tmp_path, monkeypatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return Path("runs/demo")


def test_the_whole_way_from_text_to_text(directory, capsys):
    assert main(["demo", *SHORT, "--steps", "4"]) == 0
    shown = capsys.readouterr()
    assert "best validation" in shown.out and "bits a byte" in shown.out and "●" in shown.out
    assert "ROMEO:" in shown.out and "seed 1" in shown.err
    assert (directory / "loss.svg").is_file()
    # The command it names gives the same text again.
    command = re.search(r"the same again +glassgpt (.*)", shown.out)[1].replace('"', "").split()
    assert main(command) == 0
    assert capsys.readouterr().out.strip() in shown.out


def test_a_finished_demo_writes_at_once_and_overwrite_trains_anew(directory, capsys):
    assert main(["demo", *SHORT, "--steps", "2"]) == 0
    first = newest(directory / "checkpoints")
    assert main(["demo", *SHORT, "--steps", "2", "--seed", "2"]) == 0
    shown = capsys.readouterr()
    assert "is trained already; --overwrite trains it anew" in shown.err and "seed 2" in shown.err
    assert newest(directory / "checkpoints").manifest.run_id == first.manifest.run_id
    assert main(["demo", *SHORT, "--steps", "2", "--overwrite"]) == 0
    assert newest(directory / "checkpoints").manifest.run_id != first.manifest.run_id


def test_an_unfinished_demo_goes_on(directory, capsys):
    assert main(["demo", *SHORT, "--steps", "2"]) == 0
    assert main(["demo", *SHORT, "--steps", "4"]) == 0
    assert "going on with runs/demo at step 2" in capsys.readouterr().err
    assert newest(directory / "checkpoints").step == 4


def test_a_text_is_for_train(capsys):
    assert main(["demo", "my.txt"]) == 2
    assert "to train on my.txt, run glassgpt train my.txt" in capsys.readouterr().err
