"""A spike is what stands out from the steps before it, whatever they look like; nothing else is."""

from __future__ import annotations

import random

import pytest

from glassgpt.training.hooks import Event, Spike, Update
from glassgpt.training.spikes import ENOUGH, WINDOW, Spikes, score


def told(losses: list[float], before: list[float] = []) -> list[Spike]:  # noqa: B006
    """What the hook answers to updates with these losses."""
    hook = Spikes(lambda step: [10 * step, 10 * step + 1], before)
    answers = [hook(Update(step, 64 * step, loss, 1.0, 1e-3, 1.0, 1.0)) for step, loss in enumerate(losses, 1)]
    return [answer for answer in answers if answer is not None]


def noise(count: int) -> list[float]:
    """A loss that falls from 4 to 3 with a deviation of 0.05."""
    luck = random.Random(1)
    return [4 - step / count + luck.gauss(0, 0.05) for step in range(count)]


def test_noise_has_no_spikes():
    assert told(noise(2000)) == []


def test_a_spike_names_its_step_its_score_its_loss_and_its_windows():
    losses = noise(300)
    losses[199] += 2
    (spike,) = told(losses)
    assert (spike.step, spike.spike_loss, spike.windows) == (200, losses[199], (2000, 2001))
    assert spike.score == pytest.approx(score(losses[199], losses[199 - WINDOW : 199]))
    assert spike.median_loss == pytest.approx(3.44, abs=0.05)


def test_a_spike_does_not_hide_the_next_one():
    losses = noise(300)
    for step in (200, 202, 205):
        losses[step - 1] += 2
    assert [spike.step for spike in told(losses)] == [200, 202, 205]


def test_a_loss_that_falls_is_none():
    losses = noise(300)
    losses[199] -= 2
    assert told(losses) == []


def test_there_must_be_something_to_compare_with():
    assert told([3.0, 3.1] * (ENOUGH // 2) + [9.0])
    assert not told([3.0, 3.1] * (ENOUGH // 2 - 1) + [9.0])
    assert told([9.0], before=[3.0, 3.1] * (ENOUGH // 2)), "a resumed run remembers"


def test_a_flat_line_has_no_spikes_and_an_infinite_score_is_impossible():
    assert told([3.0] * 200 + [3.001]) == []
    assert [spike.score for spike in told([0.0] * 200 + [1.0])] == [1e12]


def test_the_score_is_in_standard_deviations():
    luck = random.Random(2)
    others = [luck.gauss(3, 0.1) for _ in range(10_001)]
    assert score(3.5, others) == pytest.approx(5, rel=0.05)


def test_other_events_are_not_its_business():
    assert Spikes(lambda step: [])(Event(1)) is None
