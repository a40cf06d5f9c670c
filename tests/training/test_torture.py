"""Each fault on a small scale; ``pytest -m release`` injects them as often as a release does."""

import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from random import Random

import pytest

from glassgpt.training.storage import Storage, write_file
from glassgpt.training.torture.disk import Disk
from glassgpt.training.torture.faulty import CHANGES, Watched
from glassgpt.training.torture.outcome import Outcome, Unavailable, fault
from glassgpt.training.torture.savers import CARELESS, COMMITTING
from glassgpt.training.torture.suite import TRIALS, torture
from glassgpt.training.torture.victim import Announce, Ending, Victim

# Fault -> trials: enough to see that fault and control work, few enough for every change.
FEW = {
    "kill_training": 6,
    "cut_in_model": 1,
    "cut_on_ext4": 2,
    "fill_tmpfs": 2,
    "damage_checkpoints": 200,
    "damage_tokens": 100,
    "interrupt_training": 4,
    "poison_training": 9,
    "reorder": 100,
}


@pytest.mark.parametrize("inject", TRIALS, ids=lambda inject: inject.__name__)
def test_a_fault_harms_only_the_careless(inject, tmp_path: Path) -> None:
    outcome = inject(tmp_path / "place", FEW.get(inject.__name__, 1))
    if outcome.skipped:
        pytest.skip(outcome.skipped)
    assert outcome.failures == []
    assert outcome.trials > 0
    assert outcome.control > 0, "the careless control was not caught"


@pytest.mark.release
@pytest.mark.timeout(6 * 3600)
def test_release(tmp_path: Path) -> None:
    outcomes = list(torture(tmp_path, quick=False))
    assert [outcome.failures for outcome in outcomes] == [[]] * len(outcomes)
    assert all(outcome.passed or outcome.skipped for outcome in outcomes)
    assert list(tmp_path.iterdir()) == []


def test_the_kills_reach_every_kind_of_call(tmp_path: Path) -> None:
    COMMITTING.prepare(tmp_path)
    watched = Watched()
    COMMITTING.save(tmp_path, 3, watched)
    assert set(watched.calls) == set(CHANGES)


@pytest.mark.parametrize("saver", [COMMITTING, CARELESS], ids=["committing", "careless"])
def test_without_a_fault_both_savers_keep_their_promises(saver, tmp_path: Path) -> None:
    assert saver.broken(saver.prepare(tmp_path), 2) is None


def test_an_outcome_counts(tmp_path: Path) -> None:
    @fault("T0", "nothing")
    def inject(outcome: Outcome, directory: Path, trials: int, luck: Random) -> None:
        for trial in range(trials):
            outcome.check(f"trial {trial}", "lost" if trial == 1 else None)
        outcome.check_control("lost")

    outcome = inject(tmp_path / "place", 3)
    assert (outcome.trials, outcome.failures) == (3, ["trial 1: lost"])
    assert not outcome.passed


def test_a_fault_that_harms_nobody_proves_nothing() -> None:
    outcome = Outcome("T0", "nothing")
    outcome.check("trial", None)
    outcome.check_control(None)
    assert not outcome.passed


def test_a_fault_that_cannot_be_injected_says_why(tmp_path: Path) -> None:
    @fault("T0", "nothing")
    def inject(outcome: Outcome, directory: Path, trials: int, luck: Random) -> None:
        raise Unavailable("mounting needs root")

    assert inject(tmp_path / "place", 1).skipped == "mounting needs root"


def test_a_victim_says_how_it_ended() -> None:
    def run(announce: Announce) -> int:
        announce(1)
        announce(2)
        return 3

    assert Victim(run).wait() == Ending(3, [1, 2], "")


def test_a_victim_that_fails_says_why() -> None:
    def run(announce: Announce) -> None:
        raise ValueError("no room")

    assert Victim(run).wait() == Ending(70, [], "ValueError: no room")


def test_a_victim_that_hangs_is_killed() -> None:
    assert Victim(lambda announce: time.sleep(60)).wait(patience=0.1).code == -signal.SIGKILL


def test_ctrl_c_ends_it_and_is_no_broken_promise(tmp_path: Path) -> None:
    script = """
import os, signal, sys, threading
from pathlib import Path
from glassgpt.training.torture.rehearsal import Rehearsal
rehearsal = Rehearsal(Path(sys.argv[1]), seed=0, steps=1_000_000)
threading.Timer(0.5, os.kill, (os.getpid(), signal.SIGINT)).start()
rehearsal.finish("whole")
"""
    ended = subprocess.run([sys.executable, "-c", script, tmp_path], capture_output=True, text=True)
    assert ended.stderr.strip().splitlines()[-1:] == ["KeyboardInterrupt"]


class TestDisk:
    """The model of a disk, where only what was synced is sure to survive."""

    @pytest.fixture
    def disk(self, tmp_path: Path) -> Iterator[tuple[Disk, Storage, Path]]:
        (tmp_path / "run").mkdir()
        disk = Disk(tmp_path / "run")
        yield disk, Watched(disk.watch), tmp_path / "run"

    def remains(self, disk: Disk, tmp_path: Path) -> dict[str, bytes]:
        disk.top.write_after_cut(tmp_path / "remains", luck=None)
        return {path.name: path.read_bytes() for path in (tmp_path / "remains").iterdir()}

    def test_a_file_without_its_name_is_lost(self, disk, tmp_path: Path) -> None:
        model, storage, run = disk
        write_file(storage, run / "a", [b"content"])
        assert self.remains(model, tmp_path) == {}

    def test_a_name_without_its_content_is_empty(self, disk, tmp_path: Path) -> None:
        model, storage, run = disk
        storage.write(storage.create(run / "a"), b"content")
        storage.sync_directory(run)
        assert self.remains(model, tmp_path) == {"a": b""}

    def test_a_rename_is_lost_until_the_directory_is_synced(self, disk, tmp_path: Path) -> None:
        model, storage, run = disk
        write_file(storage, run / "a", [b"content"])
        storage.sync_directory(run)
        storage.rename(run / "a", run / "b")
        assert self.remains(model, tmp_path) == {"a": b"content"}
