"""The loop learns, and nothing but configuration and data decides what it learns."""

from __future__ import annotations

import math

import pytest
import torch

from glassgpt.model.keys import key
from glassgpt.training.hooks import Evaluation, Update
from glassgpt.training.loop import train
from glassgpt.training.metrics import METRICS, VARYING, read
from glassgpt.training.validation import bytes_per_token, measure


def losses(run, directory) -> list[float]:
    events: list[Update] = []
    train(run, directory, [lambda event: events.append(event) if isinstance(event, Update) else None])
    return [event.loss for event in events]


def test_it_learns(make_run, tmp_path):
    series = losses(make_run(steps=60, optimizer={"lr": 1e-2}), tmp_path)
    assert series[0] == pytest.approx(math.log(300), rel=0.02)
    assert series[-1] < 4.6


@pytest.mark.parametrize("changes", [{}, {"optimizer": {"name": "muon"}}, {"precision": "bfloat16"}], ids=str)
def test_two_runs_of_one_configuration_are_equal(make_run, tmp_path, changes):
    first, second = make_run(steps=4, **changes), make_run(steps=4, **changes)
    for run, directory in ((first, tmp_path / "1"), (second, tmp_path / "2")):
        train(run, directory)
    assert all(torch.equal(a, b) for a, b in zip(first.model.parameters(), second.model.parameters(), strict=True))
    a, b = (
        [{name: value for name, value in line.items() if name not in VARYING} for line in read(tmp_path / n / METRICS)]
        for n in ("1", "2")
    )
    assert a == b


def test_micro_batches_only_save_memory(make_run, tmp_path):
    plain = {"model": {"dropout": 0.0}, "steps": 6}
    whole = losses(make_run(**plain), tmp_path / "whole")
    parts = losses(make_run(**plain, micro_batch=1), tmp_path / "parts")
    assert parts == pytest.approx(whole, rel=1e-6)


def test_evaluation_leaves_training_as_it_was(make_run, tmp_path):
    often = losses(make_run(steps=6, evaluation={"every": 1}), tmp_path / "often")
    rarely = losses(make_run(steps=6, evaluation={"every": 100}), tmp_path / "rarely")
    assert often == rarely


def test_evaluation_ignores_dropout_and_is_the_same_every_time(make_run):
    run = make_run()
    windows = [run.batches.at(0), run.batches.at(1)]
    first = measure(run.objective, windows, run.bytes_per_token, stop=lambda: False)
    assert first == measure(run.objective, windows, run.bytes_per_token, stop=lambda: False)
    assert run.objective.training
    assert measure(run.objective, windows, run.bytes_per_token, stop=lambda: True) is None


def test_bits_per_byte_count_the_bytes_of_the_predicted_text(make_run, corpus):
    run, (tokenizer, _) = make_run(), corpus
    tokens, targets = run.batches.at(0)
    measured = measure(run.objective, [(tokens, targets)], run.bytes_per_token, stop=lambda: False)
    assert measured is not None
    num_bytes = sum(len(tokenizer.decode(row.tolist()).encode()) for row in targets)
    assert measured[1] == pytest.approx(measured[0] * targets.numel() / math.log(2) / num_bytes)
    assert bytes_per_token(tokenizer, torch.device("cpu"))[tokenizer.eot] == 0


def test_the_dropout_of_a_step_follows_from_seed_step_and_rank():
    assert key("dropout", 1, 42, 7, 0) == 4753066531244597098


def test_a_batch_that_is_not_finite_is_never_applied_or_saved(make_run, tmp_path):
    run = make_run()

    def poison(event) -> None:
        if isinstance(event, Update) and event.step == 6:
            with torch.no_grad():
                run.model.token_embedding.weight[:] = float("nan")

    with pytest.raises(FloatingPointError, match=r"step 7 is not finite.* windows \d+, \d+, \d+, \d+ of"):
        train(run, tmp_path, [poison])
    assert run.optimizer.updates == 6
    assert [path.name for path in (tmp_path / "checkpoints").glob("step-*")] == ["step-00000004"]


def test_weights_that_are_not_finite_are_never_saved(make_run, tmp_path):
    run = make_run(steps=8)

    def poison(event) -> None:
        if isinstance(event, Evaluation) and event.step == 8:
            with torch.no_grad():
                run.model.final_norm.bias[0] = float("inf")

    with pytest.raises(FloatingPointError, match=r"step 8: final_norm.bias is not finite"):
        train(run, tmp_path, [poison])
    assert [path.name for path in (tmp_path / "checkpoints").glob("step-*")] == ["step-00000004"]


def test_residual_projections_can_start_at_zero(make_run):
    model = make_run(model={"zero_residual": True}).model
    assert not model.blocks[1].mlp.down.weight.any() and not model.blocks[0].attention.out.weight.any()
    assert model.blocks[0].attention.qkv.weight.any()


@pytest.mark.filterwarnings("default")  # torch.compile warns about itself
def test_compiled_blocks_learn_the_same(make_run, tmp_path):
    plain = {"model": {"dropout": 0.0}, "steps": 3}
    eager = losses(make_run(**plain), tmp_path / "eager")
    assert losses(make_run(**plain, compile=True), tmp_path / "compiled") == pytest.approx(eager, rel=1e-5)
