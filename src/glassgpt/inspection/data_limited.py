"""The loss to expect of a model of some size after so many tokens, some of them read again and again.

Source: Muennighoff et al. 2023, "Scaling data-constrained language models", https://arxiv.org/abs/2305.16264, appendix
A. Its models had 7 million parameters and more; below it only says which of several sizes is better, and for that the
worth of parameters is changed by what was measured here (docs/training.md).
"""

from __future__ import annotations

import math

A, B, E = math.exp(6.255414), math.exp(7.3049974), math.exp(0.6254804)
ALPHA = 0.3526596  # of parameters and of tokens
REPEATS, EXCESS = 15.387756, 5.309743  # how fast repeated tokens, and parameters beyond what tokens need, lose worth
SMALL = 7e6  # parameters, which the law does not reach
FEW = 2  # different tokens that a parameter of so small a model is worth having for
TOKENS_A_PARAMETER = (B / A) ** (1 / ALPHA)  # where both terms are equal: 20, as Hoffmann et al. 2022 found


def expected_loss(parameters: float, tokens: float, unique: float) -> float:
    """Nats a token after training on ``tokens``, of which ``unique`` are different.

    Up to four epochs are nearly as good as new text; after sixteen hardly anything is gained.
    """
    unique = min(unique, tokens)
    useful = max(unique / TOKENS_A_PARAMETER, min(unique / FEW, SMALL))
    needed = min(parameters, useful)
    return E + A / worth(needed, parameters, EXCESS) ** ALPHA + B / worth(unique, tokens, REPEATS) ** ALPHA


def worth(first: float, whole: float, scale: float) -> float:
    """What ``whole`` is worth if everything beyond ``first`` repeats it, with returns that diminish by ``scale``."""
    return first * (1 + scale * -math.expm1(-(whole / first - 1) / scale))
