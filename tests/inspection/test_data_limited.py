"""The law that weighs size, tokens and repetition: the facts its authors state."""

from __future__ import annotations

import pytest

from glassgpt.inspection.data_limited import TOKENS_A_PARAMETER, E, expected_loss

PLENTY = 1e15


def test_without_repetition_it_is_chinchillas_law():
    assert TOKENS_A_PARAMETER == pytest.approx(20, rel=0.05)
    tokens = TOKENS_A_PARAMETER * 1e9
    assert expected_loss(1e9, tokens, PLENTY) == pytest.approx(
        E + 521 / 1e9**0.3526596 + 1488 / tokens**0.3526596, 1e-3
    )


def test_four_epochs_are_nearly_as_good_as_new_text():
    new, repeated = expected_loss(1e8, 8e9, PLENTY), expected_loss(1e8, 8e9, 2e9)
    assert new < repeated < 1.01 * new


def test_after_sixteen_epochs_hardly_anything_is_gained():
    at = {epochs: expected_loss(1e8, epochs * 1e9, 1e9) for epochs in (1, 4, 64, 256)}
    assert at[64] - at[256] < 0.1 * (at[1] - at[4])


def test_a_short_text_does_not_repay_a_large_model():
    sizes = (1e6, 1e7, 1e8, 1e9)
    budget = 6e15  # FLOPs: a larger model reads fewer tokens

    def best(unique: float) -> float:
        return min(sizes, key=lambda size: expected_loss(size, budget / (6 * size), unique))

    assert best(1e5) <= best(PLENTY) == 1e7
