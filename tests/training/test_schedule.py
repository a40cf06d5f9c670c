"""The learning rate is a function of the step alone."""

from __future__ import annotations

import pytest

from glassgpt.training.config import ScheduleConfig
from glassgpt.training.schedule import decay_share, learning_rate

COSINE = ScheduleConfig(name="cosine", warmup=0.1, floor=0.1)
WSD = ScheduleConfig(name="wsd", warmup=0.1, cooldown=0.4, floor=0.0)


@pytest.mark.parametrize("schedule", [COSINE, WSD])
def test_the_warm_up_rises_linearly_and_never_starts_at_zero(schedule):
    rates = [learning_rate(step, 100, 1.0, schedule) for step in range(11)]
    assert rates == pytest.approx([n / 11 for n in range(1, 12)])


def test_cosine_is_half_way_in_the_middle_and_ends_at_the_floor():
    assert learning_rate(55, 100, 2.0, COSINE) == pytest.approx(1.1)
    assert learning_rate(99, 100, 2.0, COSINE) == pytest.approx(0.2, rel=0.01)


def test_wsd_is_flat_and_then_falls_linearly():
    assert {learning_rate(step, 100, 3.0, WSD) for step in range(10, 61)} == {3.0}
    assert learning_rate(80, 100, 3.0, WSD) == pytest.approx(1.5)
    assert learning_rate(99, 100, 3.0, WSD) == pytest.approx(3.0 / 40)


def test_a_run_of_one_step_learns():
    assert learning_rate(0, 1, 1.0, COSINE) == 1.0


def test_a_longer_wsd_run_begins_like_a_shorter_one():
    short = ScheduleConfig(name="wsd", warmup=0.1, cooldown=0.5)
    long = ScheduleConfig(name="wsd", warmup=0.05, cooldown=0.25)
    assert [learning_rate(s, 100, 1.0, short) for s in range(51)] == [
        learning_rate(s, 200, 1.0, long) for s in range(51)
    ]


def test_the_weight_decay_changes_linearly():
    schedule = ScheduleConfig(decay_floor=0.2)
    assert [decay_share(step, 5, schedule) for step in range(5)] == pytest.approx([1.0, 0.8, 0.6, 0.4, 0.2])
    assert {decay_share(step, 5, ScheduleConfig()) for step in range(5)} == {1.0}
