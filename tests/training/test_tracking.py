"""Trackers of experiments, each with its real package and without a network, and refused by name where it is not."""

from __future__ import annotations

import json
import os
import sqlite3
import subprocess
import sys
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path

import pytest

from glassgpt.training.hooks import Evaluation, Event, Saved, Spike, Update
from glassgpt.training.tracking.figures import figures

TRACKERS = ["tensorboard", "wandb", "trackio"]

RUN = """
import sys
from contextlib import ExitStack
from importlib import import_module
from pathlib import Path
from glassgpt.training.config import RunConfig
from glassgpt.training.hooks import Evaluation, Sample, Update

with ExitStack() as stack:
    for name in sys.argv[1:]:
        module = import_module(f"glassgpt.training.tracking.{name}")
        hook = stack.enter_context(module.track(RunConfig(name="night"), Path("run")))
        hook(Update(1, 64, 3.25, 1.5, 1e-3, 100.0, 0.5))
        hook(Sample(1, "ROMEO:", " But soft"))
        hook(Evaluation(1, 64, 3.5, 2.25))
        hook(Update(2, 128, 3.0, 1.5, 1e-3, 100.0, 1.0))
"""


@pytest.fixture(scope="module")
def place(tmp_path_factory) -> Path:
    """Where a process of its own has tracked two steps with every tracker that is installed."""
    place = tmp_path_factory.mktemp("tracked")
    (place / "run").mkdir()
    environment = {**os.environ, "TRACKIO_DIR": str(place / "trackio"), "http_proxy": "http://127.0.0.1:9"}
    names = [name for name in TRACKERS if find_spec(name)]
    done = subprocess.run(
        [sys.executable, "-c", RUN, *names], cwd=place, env=environment, capture_output=True, text=True, timeout=200
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout == "", "results go to standard output, and a tracker has none"
    return place


def test_tensorboard(place):
    pytest.importorskip("tensorboard", reason="needs the extra 'tensorboard'")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    events = EventAccumulator(str(place / "run" / "tensorboard")).Reload()
    assert [(event.step, event.value) for event in events.Scalars("training/loss")] == [(1, 3.25), (2, 3.0)]
    assert [(event.step, event.value) for event in events.Scalars("validation/val_loss")] == [(1, 3.5)]
    (sample,) = events.Tensors("sample/'ROMEO:'/text_summary")
    assert sample.tensor_proto.string_val == [b"ROMEO: But soft"]


def test_wandb_stays_offline(place):
    pytest.importorskip("wandb", reason="needs the extra 'wandb'")
    (log,) = (place / "run" / "wandb").glob("offline-run-*/*.wandb")
    content = log.read_bytes()
    assert b"training/loss" in content and b"validation/val_loss" in content and b"night" in content


def test_trackio(place):
    pytest.importorskip("trackio", reason="needs the extra 'trackio'")
    with sqlite3.connect(place / "trackio" / "glassgpt.db") as database:
        rows = database.execute("select run_name, step, metrics from metrics order by id").fetchall()
    database.close()
    assert [(name, step) for name, step, _ in rows] == [("night", 1), ("night", 1), ("night", 2)]
    assert [json.loads(row[2]).get("training/loss") for row in rows] == [3.25, None, 3.0]


@pytest.mark.parametrize("name", TRACKERS)
def test_a_tracker_that_is_not_installed_names_its_extra(name, monkeypatch):
    monkeypatch.delitem(sys.modules, f"glassgpt.training.tracking.{name}", raising=False)
    for package in (name, "torch.utils.tensorboard"):
        monkeypatch.setitem(sys.modules, package, None)  # which makes its import fail
    with pytest.raises(ImportError, match=rf"pip install 'glassgpt\[{name}\]'"):
        import_module(f"glassgpt.training.tracking.{name}")


def test_figures_are_the_numbers_of_an_event():
    told = figures(Update(1, 64, 3.25, 1.5, 1e-3, 100.0, 0.5))
    assert told["training/loss"] == 3.25 and "training/step" not in told
    assert "training/mfu" not in told, "what is not known is not told"
    assert figures(Evaluation(1, 64, 3.5, 2.25)).keys() == {
        "validation/tokens", "validation/val_loss", "validation/bits_per_byte",
    }  # fmt: skip
    assert figures(Spike(1, 8.5, 7.0, 3.0, (4, 9)))["spike/score"] == 8.5
    assert figures(Saved(1, Path("x"))) == figures(Event(1)) == {}
