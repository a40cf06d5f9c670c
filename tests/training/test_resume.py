"""A run that was stopped and continued equals one that was not: weights, optimizer state and metrics, bit for bit."""

from __future__ import annotations

import json
import logging
import math
import os
import re
import signal
import time
from functools import partial
from pathlib import Path

import pytest

from glassgpt.training import loop, spikes
from glassgpt.training.checkpoint import Checkpoints
from glassgpt.training.hooks import Evaluation, Event, Update
from glassgpt.training.loop import train
from glassgpt.training.metrics import LOST, METRICS, VARYING
from glassgpt.training.start import CONFIG, read_config
from glassgpt.training.storage import Storage
from glassgpt.training.torture.rehearsal import one_thread
from glassgpt.training.torture.victim import Announce, Victim
from glassgpt.weights.checkpoint import Checkpoint, newest

KINDS = pytest.mark.parametrize(
    "changes", [{}, {"optimizer": {"name": "muon"}}, {"precision": "bfloat16"}, {"micro_batch": 2}], ids=str
)


def kill(step: int, kind: type[Event] = Update):
    """A hook that sends SIGTERM to this process when an event of ``kind`` is told at ``step``."""

    def hook(event: Event) -> None:
        if isinstance(event, kind) and event.step == step:
            os.kill(os.getpid(), signal.SIGTERM)

    return hook


def crash(step: int):
    """A hook that ends training at ``step`` as a crash would: nothing is saved."""

    def hook(event: Event) -> None:
        if isinstance(event, Update) and event.step == step:
            raise RuntimeError("crash")

    return hook


def learnt(directory: Path, step: int) -> dict[str, bytes]:
    """Weights and optimizer state of a checkpoint as bytes."""
    checkpoint = Checkpoint.open(directory / "checkpoints" / f"step-{step:08d}")
    return {name: checkpoint.read(name) for name in ("model.safetensors", "training/optimizer.safetensors")}


def story(directory: Path) -> list[dict]:
    lines = [json.loads(line) for line in (directory / METRICS).read_text().splitlines()]
    return [{name: value for name, value in line.items() if name not in VARYING} for line in lines]


@KINDS
def test_stopped_by_a_signal_and_continued_equals_uninterrupted(make_run, tmp_path, changes):
    assert train(make_run(**changes), tmp_path / "whole") == 0
    assert train(make_run(**changes), tmp_path / "parts", [kill(step=7)]) == 143
    assert train(make_run(**changes), tmp_path / "parts", resume=True) == 0
    assert learnt(tmp_path / "parts", 12) == learnt(tmp_path / "whole", 12)
    assert story(tmp_path / "parts") == story(tmp_path / "whole")


def test_crashed_and_continued_equals_uninterrupted(make_run, tmp_path):
    train(make_run(), tmp_path / "whole")
    with pytest.raises(RuntimeError):
        train(make_run(), tmp_path / "parts", [crash(step=7)])
    assert train(make_run(), tmp_path / "parts", resume=True) == 0
    assert learnt(tmp_path / "parts", 12) == learnt(tmp_path / "whole", 12)
    assert story(tmp_path / "parts") == story(tmp_path / "whole")
    lost = [json.loads(line)["step"] for line in (tmp_path / "parts" / LOST).read_text().splitlines()]
    assert lost == [5, 6, 7]


def test_a_run_that_hangs_after_a_signal_ends_itself_and_says_what_is_safe(make_run, tmp_path):
    def hang(event: Event) -> None:
        if isinstance(event, Update) and event.step == 7:
            os.kill(os.getpid(), signal.SIGTERM)
            time.sleep(600)

    def run(announce: Announce) -> int:
        logging.getLogger("glassgpt").addHandler(logging.FileHandler(tmp_path / "log"))
        return train(make_run(checkpoint={"every": 4, "deadline": 0.05}), tmp_path, [hang])

    with one_thread():
        assert Victim(run).wait().code == 1
    assert "0.05 s after the signal this process is still at step 7" in (tmp_path / "log").read_text()
    assert "step 4 is saved, and --resume goes on from there" in (tmp_path / "log").read_text()
    saved = newest(tmp_path / "checkpoints")
    assert saved is not None and saved.step == 4


def test_a_save_that_hangs_after_a_signal_says_how_far_it_is(make_run, tmp_path, monkeypatch):
    class Stuck(Storage):
        def rename(self, old: Path, new: Path) -> None:
            if new.name == "step-00000007":
                time.sleep(600)
            super().rename(old, new)

    def run(announce: Announce) -> int:
        logging.getLogger("glassgpt").addHandler(logging.FileHandler(tmp_path / "log"))
        return train(make_run(checkpoint={"every": 4, "deadline": 0.5}), tmp_path, [kill(step=7)])

    monkeypatch.setattr(loop, "Checkpoints", partial(Checkpoints, storage=Stuck()))
    with one_thread():
        assert Victim(run).wait().code == 1
    said = (tmp_path / "log").read_text()
    assert re.search(r"at the checkpoint of step 7 \([\d,]+ of some [\d,]+ bytes written\)", said)
    assert "step 4 is saved, and --resume goes on from there" in said
    assert train(make_run(), tmp_path, resume=True) == 0, "the lock and the stage are in nobody's way"


def test_a_spike_is_noticed_after_a_resume_as_it_would_have_been(make_run, tmp_path, monkeypatch):
    monkeypatch.setattr(spikes, "ENOUGH", 3)
    monkeypatch.setattr(spikes, "THRESHOLD", -math.inf)  # every step is told, with its score
    train(make_run(), tmp_path / "whole")
    train(make_run(), tmp_path / "parts", [kill(step=7)])
    train(make_run(), tmp_path / "parts", resume=True)
    assert [line["step"] for line in story(tmp_path / "whole") if "spike_loss" in line] == list(range(4, 13))
    assert story(tmp_path / "parts") == story(tmp_path / "whole")


def test_a_signal_during_evaluation_does_not_lose_the_evaluation(make_run, tmp_path):
    train(make_run(), tmp_path / "whole")
    # The signal comes with the update of step 8, so the evaluation due at step 8 finds it pending.
    assert train(make_run(), tmp_path / "parts", [kill(step=8)]) == 143
    assert not any(line["step"] == 8 and "val_loss" in line for line in story(tmp_path / "parts"))
    assert train(make_run(), tmp_path / "parts", resume=True) == 0
    assert story(tmp_path / "parts") == story(tmp_path / "whole")


def test_a_finished_run_resumes_into_nothing(make_run, tmp_path):
    train(make_run(), tmp_path)
    before = story(tmp_path)
    events: list[Event] = []
    assert train(make_run(), tmp_path, [events.append], resume=True) == 0
    assert events == [] and story(tmp_path) == before


def test_a_run_can_be_prolonged(make_run, tmp_path):
    train(make_run(), tmp_path)
    train(make_run(steps=16), tmp_path, resume=True)
    assert [line["step"] for line in story(tmp_path) if "val_loss" in line] == [4, 8, 12, 16]


def test_resuming_before_the_first_checkpoint_starts_anew(make_run, tmp_path):
    with pytest.raises(RuntimeError):
        train(make_run(), tmp_path, [crash(step=2)])
    assert train(make_run(), tmp_path, resume=True) == 0
    assert [line["step"] for line in story(tmp_path) if "loss" in line] == list(range(1, 13))


def test_another_seed_is_refused_unless_allowed(make_run, tmp_path, caplog):
    train(make_run(), tmp_path)
    with pytest.raises(ValueError, match="seed: 1 -> 2"):
        train(make_run(seed=2, steps=16), tmp_path, resume=True)
    with caplog.at_level(logging.WARNING):
        train(make_run(seed=2, steps=13), tmp_path, resume=True, allow=["seed"])
    assert "bits will not match an uninterrupted run, because seed: 1 -> 2" in caplog.text


def test_a_refused_resume_leaves_the_configuration_as_it_was(make_run, tmp_path):
    train(make_run(), tmp_path)
    with pytest.raises(ValueError, match="seed: 1 -> 2"):
        train(make_run(seed=2), tmp_path, resume=True)
    assert read_config(tmp_path / CONFIG) == make_run().config
    with Checkpoints(tmp_path / "checkpoints"), pytest.raises(ValueError, match="in use"):
        train(make_run(steps=16), tmp_path, resume=True)
    assert read_config(tmp_path / CONFIG) == make_run().config
    train(make_run(steps=16), tmp_path, resume=True)
    assert read_config(tmp_path / CONFIG).steps == 16


def test_a_new_run_is_never_mixed_with_the_checkpoints_of_another(make_run, tmp_path):
    train(make_run(), tmp_path)
    (tmp_path / CONFIG).unlink()
    with pytest.raises(FileExistsError, match="checkpoints holds checkpoints of a run: continue it with --resume"):
        train(make_run(steps=8), tmp_path)


def test_a_run_cannot_be_shortened(make_run, tmp_path):
    train(make_run(), tmp_path)
    with pytest.raises(ValueError, match="has taken 12 steps already, steps is 8: give more steps"):
        train(make_run(steps=8), tmp_path, resume=True)


def test_another_model_is_refused(make_run, tmp_path):
    train(make_run(), tmp_path)
    with pytest.raises(ValueError, match="shape"):
        train(make_run(model={"emb_dim": 16}), tmp_path, resume=True)


def test_evaluations_do_not_repeat(make_run, tmp_path):
    train(make_run(steps=4), tmp_path)
    events: list[Event] = []
    train(make_run(steps=8), tmp_path, [events.append], resume=True)
    assert [event.step for event in events if isinstance(event, Evaluation)] == [8]


def test_a_run_with_a_ramp_and_a_falling_decay_resumes_bit_for_bit(make_run, tmp_path):
    changes = {"micro_batch": 1, "schedule": {"ramp": 0.5, "first_batch": 1, "decay_floor": 0.0}}
    train(make_run(**changes), tmp_path / "whole")
    with pytest.raises(RuntimeError):
        train(make_run(**changes), tmp_path / "cut", [crash(step=6)])
    assert train(make_run(**changes), tmp_path / "cut", resume=True) == 0
    assert story(tmp_path / "cut") == story(tmp_path / "whole")
    tokens = [line["tokens"] for line in story(tmp_path / "whole") if "loss" in line]
    sizes = [1, 1, 2, 2, 3, 3, 4, 4, 4, 4, 4, 4]
    assert tokens == [16 * sum(sizes[: step + 1]) for step in range(12)]


def test_a_ramp_that_would_have_shown_other_windows_is_refused(make_run, tmp_path):
    changes = {"micro_batch": 1, "schedule": {"ramp": 0.5, "first_batch": 1}}
    train(make_run(**changes), tmp_path)
    with pytest.raises(ValueError, match="tokens_seen: 576 -> 384"):
        train(make_run(**changes, steps=24), tmp_path, resume=True)
