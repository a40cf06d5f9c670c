"""transformers' logits processors are the judge of every filter."""

import pytest
import torch
import transformers
from hypothesis import given
from hypothesis import strategies as st

from glassgpt.generation.sampling import (
    SamplingParams,
    draw,
    keep_min_p,
    keep_top_k,
    keep_top_p,
    penalize,
    pick,
    sample,
)

LOGITS = torch.randn(5, 200, generator=torch.Generator().manual_seed(1)) * 3
PLAIN = {"top_p": None, "temperature": 1.0}


@pytest.mark.parametrize("k", [1, 2, 50, 500])
def test_top_k(k):
    assert torch.equal(keep_top_k(LOGITS, k), transformers.TopKLogitsWarper(k)(None, LOGITS))


@pytest.mark.parametrize("p", [0.05, 0.5, 0.9, 0.99])
def test_top_p(p):
    assert torch.equal(keep_top_p(LOGITS, p), transformers.TopPLogitsWarper(p)(None, LOGITS))


@pytest.mark.parametrize("p", [0.0, 0.01, 0.3, 1.0])
def test_min_p(p):
    assert torch.equal(keep_min_p(LOGITS, p), transformers.MinPLogitsWarper(p)(None, LOGITS))


def test_repetition_penalty():
    seen = torch.arange(50).view(5, 10) * 3
    expected = transformers.RepetitionPenaltyLogitsProcessor(1.3)(seen, LOGITS)
    assert torch.equal(penalize(LOGITS, seen.tolist(), 1.3), expected)


def test_temperature_zero_takes_the_likeliest():
    ids = sample(LOGITS, [0.9] * 5, [[]] * 5, SamplingParams(temperature=0.0))
    assert torch.equal(ids, LOGITS.argmax(-1))


@pytest.mark.parametrize("settings", [{"temperature": 1e-9}, {"repetition_penalty": 1e-9}, {"repetition_penalty": 1e9}])
def test_the_extremes_still_choose(settings):
    params = SamplingParams(**{"top_p": 0.9, **settings})
    ids = sample(1e4 * LOGITS, [0.5] * 5, [[7, 9]] * 5, params)
    assert "temperature" not in settings or torch.equal(ids, LOGITS.argmax(-1))
    assert all(0 <= id < 200 for id in ids.tolist())


@pytest.mark.parametrize(
    "settings", [{"temperature": 1e-40}, {"repetition_penalty": 0.0}, {"repetition_penalty": 1e39}]
)
def test_what_would_make_logits_infinite_is_refused(settings):
    with pytest.raises(ValueError, match=r"0 is greedy|should be (greater|less) than or equal to"):
        SamplingParams(**settings)


def test_frequencies_are_the_probabilities():
    probabilities = torch.tensor([[0.5, 0.0, 0.3, 0.2]])
    draws = [draw(7, 0, position) for position in range(20_000)]
    counts = torch.bincount(pick(probabilities.expand(len(draws), -1), draws), minlength=4) / len(draws)
    assert counts[1] == 0
    torch.testing.assert_close(counts, probabilities[0], rtol=0, atol=0.02)  # five standard deviations


@given(st.floats(0, 1, exclude_max=True), st.integers(0, 199))
def test_a_forbidden_token_is_never_picked(number, only):
    logits = torch.full((1, 200), float("-inf"))
    logits[0, only] = 0.0
    assert sample(logits, [number], [[]], SamplingParams(**PLAIN)).item() == only


def test_rows_do_not_influence_each_other():
    params = SamplingParams(temperature=0.9, top_k=40, top_p=0.9, min_p=0.01, repetition_penalty=1.2)
    draws, seen = [draw(3, 0, row) for row in range(5)], [[row, 7] for row in range(5)]
    together = sample(LOGITS, draws, seen, params).tolist()
    alone = [sample(LOGITS[i : i + 1], draws[i : i + 1], seen[i : i + 1], params).item() for i in range(5)]
    assert together == alone


def test_draws_are_keyed():
    assert 0 <= draw(1, 0, 0) < 1
    assert (
        len({draw(seed, choice, position) for seed in range(9) for choice in range(9) for position in range(9)}) == 729
    )


@pytest.mark.parametrize(
    "wrong", [{"temperature": -1}, {"top_k": 0}, {"top_p": 0.0}, {"min_p": 2}, {"overflow": "wrap"}, {"topk": 3}]
)
def test_parameters_that_cannot_be_are_refused(wrong):
    with pytest.raises(ValueError, match=next(iter(wrong))):
        SamplingParams(**wrong)
