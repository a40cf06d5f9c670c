import json
from pathlib import Path

import pytest

from glassgpt.cli.main import main
from glassgpt.cli.torture import describe
from glassgpt.training.torture.kills import kill_everywhere
from glassgpt.training.torture.outcome import Outcome
from glassgpt.training.torture.suite import TRIALS


def test_an_outcome_is_one_line_and_its_failures() -> None:
    outcome = Outcome("T2", "SIGKILL at every system call of a save", trials=59, control=11, control_trials=14)
    assert "held" in describe(outcome)
    assert "0 lost in 59, 11 of 14 careless ones caught" in describe(outcome)
    outcome.failures = ["rename (call 20): step 2 is resumed"]
    first, second = describe(outcome).splitlines()
    assert "BROKEN" in first
    assert second.endswith("rename (call 20): step 2 is resumed")


def test_a_skipped_fault_says_why() -> None:
    outcome = Outcome("T3", "power cut", skipped="mounting a file system needs root")
    assert "skipped: mounting a file system needs root" in describe(outcome)


@pytest.fixture
def only_kills(monkeypatch: pytest.MonkeyPatch) -> None:
    """Leaves one fault in the table; tests/training/test_torture.py injects them all."""
    for inject in list(TRIALS):
        if inject is not kill_everywhere:
            monkeypatch.delitem(TRIALS, inject)


@pytest.mark.usefixtures("only_kills")
def test_the_command_counts_and_cleans_up(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["torture", "--quick", "--dir", str(tmp_path)]) == 0
    printed = capsys.readouterr().out
    assert "seed 0" in printed
    assert "T2" in printed
    assert "held: 0 lost in" in printed
    assert list(tmp_path.iterdir()) == []


@pytest.mark.usefixtures("only_kills")
def test_counts_as_json(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["torture", "--quick", "--json", "--seed", "7", "--dir", str(tmp_path)]) == 0
    printed = json.loads(capsys.readouterr().out)
    assert printed["passed"]
    assert printed["seed"] == 7
    (fault,) = printed["faults"]
    assert fault["id"] == "T2"
    assert fault["failures"] == []
    assert fault["trials"] > 50


@pytest.mark.parametrize(("option", "value"), [("--kills", "0"), ("--dir", "nowhere"), ("--dir", __file__)])
def test_nonsense_is_one_line(option: str, value: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["torture", option, value]) == 2
    out, err = capsys.readouterr()
    assert (out, err.count("\n")) == ("", 1) and option in err
