"""A run that starts from another model's weights goes on where that model is."""

from __future__ import annotations

import pytest
import torch

from glassgpt.training.hooks import Evaluation
from glassgpt.training.loop import train
from glassgpt.weights.checkpoint import newest


def held_out(events: list) -> list[float]:
    return [event.val_loss for event in events if isinstance(event, Evaluation)]


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_fine_tuning_starts_from_what_was_learnt(make_run, tmp_path, precision):
    before: list = []
    train(make_run(steps=40, evaluation={"every": 40}), tmp_path / "base", [before.append])
    run = make_run(steps=1, precision=precision, optimizer={"lr": 1e-9}, model={"start_from": str(tmp_path / "base")})
    after: list = []
    train(run, tmp_path / "tuned", [after.append])
    assert held_out(after) == pytest.approx(held_out(before), abs=1e-4 if precision == "float32" else 0.02)


def test_a_shorter_context_takes_the_first_positions(make_run, tmp_path):
    base = make_run(steps=4)
    train(base, tmp_path / "base")
    run = make_run(steps=1, optimizer={"lr": 1e-12}, model={"start_from": str(tmp_path / "base"), "context_length": 8})
    train(run, tmp_path / "short")
    torch.testing.assert_close(run.model.position_embedding.weight, base.model.position_embedding.weight[:8])


def test_another_shape_is_refused(make_run, tmp_path):
    train(make_run(steps=4), tmp_path / "base")
    run = make_run(model={"start_from": str(tmp_path / "base"), "emb_dim": 16})
    with pytest.raises(ValueError, match=r"is \(.*\) there and \(.*\) here: give \[model\] that model's size"):
        train(run, tmp_path / "other")


def test_a_resumed_run_needs_its_first_model_no_more(make_run, tmp_path):
    train(make_run(steps=4), tmp_path / "base")
    run = make_run(steps=4, model={"start_from": str(tmp_path / "base")})
    train(run, tmp_path / "tuned")
    (tmp_path / "base").rename(tmp_path / "gone")
    assert train(make_run(steps=6, model={"start_from": str(tmp_path / "base")}), tmp_path / "tuned", resume=True) == 0
    assert newest(tmp_path / "tuned" / "checkpoints").step == 6
