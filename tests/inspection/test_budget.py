"""What is chosen for a time, a text and a machine whose pace is given; no clock runs here."""

from __future__ import annotations

from typing import Any

import pytest

from glassgpt.inspection.budget import MIN_STEPS, MOST_EPOCHS, Budget, Text, allocate
from glassgpt.model.flops import training_flops
from glassgpt.training.calibration import Pace
from glassgpt.training.config import RunConfig

BOOK = Text(tokens=400_000, held_out=20_000, vocab_size=1024)
CORPUS = Text(tokens=10**9, held_out=10**6, vocab_size=16384)


def build(settings: dict[str, Any]) -> RunConfig:
    """A configuration of settings by dotted path."""
    values: dict[str, Any] = {}
    for path, value in settings.items():
        *tables, key = path.split(".")
        table = values
        for name in tables:
            table = table.setdefault(name, {})
        table[key] = value
    return RunConfig.model_validate(values)


def choose(seconds: float, text: Text, flops: float, free: float = 64e9, **fixed: Any) -> Budget:
    """The choice on a machine that computes so many FLOPs a second, whatever the shape."""

    def pace(config: RunConfig, vocab_size: int) -> Pace:
        model = config.model.build_config(vocab_size)
        seconds = training_flops(model, model.context_length) / flops
        return Pace(
            block=seconds / (model.num_layers + 1), ends=seconds / (model.num_layers + 1), micro_step=0, update=0
        )

    return allocate(lambda: seconds, text, lambda settings: build(settings | fixed), pace, free)


@pytest.mark.parametrize("minutes", [1, 10, 600])
@pytest.mark.parametrize("flops", [5e10, 1e12, 4e14])
@pytest.mark.parametrize("text", [BOOK, CORPUS], ids=["book", "corpus"])
def test_steps_evaluations_and_checkpoints_fill_the_time_or_the_text_is_read_out(minutes, flops, text):
    budget = choose(60 * minutes, text, flops)
    tokens_a_step = budget.config.batch_size * budget.model.context_length
    is_read_out = MOST_EPOCHS * text.tokens - tokens_a_step < budget.tokens <= MOST_EPOCHS * text.tokens
    assert is_read_out or 60 * minutes - budget.step_seconds <= budget.seconds
    assert budget.seconds <= 60 * minutes
    assert budget.config.steps >= MIN_STEPS
    assert budget.config.batch_size % budget.config.rows == 0
    assert budget.model.context_length < text.held_out


def test_more_time_a_faster_machine_or_more_text_make_a_larger_model():
    small = choose(60, CORPUS, 1e11).model.num_parameters
    assert small < choose(3600, CORPUS, 1e11).model.num_parameters
    assert small < choose(60, CORPUS, 1e14).model.num_parameters
    assert choose(3600, BOOK, 1e12).model.num_parameters <= choose(3600, CORPUS, 1e12).model.num_parameters


def test_the_size_with_the_lowest_expected_loss_is_taken():
    budget = choose(600, BOOK, 1e11)
    assert len(budget.losses) > 1
    assert budget.model.num_parameters == pytest.approx(min(budget.losses, key=budget.losses.__getitem__), rel=0.2)


def test_what_was_asked_for_stays():
    budget = choose(60, BOOK, 1e11, **{"model.emb_dim": 96, "model.num_heads": 3, "model.num_layers": 1})
    assert (budget.model.emb_dim, budget.model.num_layers) == (96, 1)


def test_little_memory_makes_smaller_micro_batches_of_the_same_batch():
    much, little = (choose(600, CORPUS, 1e12, free=free) for free in (64e9, 1e9))
    assert little.config.rows < much.config.rows
    assert little.config.rows * little.model.context_length <= much.config.rows * much.model.context_length


@pytest.mark.parametrize(
    ("seconds", "text", "flops", "free", "message"),
    [
        (60, Text(500, 100, 300), 1e11, 64e9, "give at least some 20 KB"),
        (60, Text(5000, 20, 300), 1e11, 64e9, "give at least some 20 KB"),
        (3, BOOK, 1e9, 64e9, "give more --minutes"),
        (60, BOOK, 1e11, 1e6, "no model fits 0.0 GiB of free memory"),
    ],
)
def test_nonsense_is_refused_with_the_next_step(seconds, text, flops, free, message):
    with pytest.raises(ValueError, match=message):
        choose(seconds, text, flops, free)
