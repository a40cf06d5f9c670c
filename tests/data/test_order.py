"""The order of samples: a permutation of its own for every epoch, computed point by point."""

import hashlib

import numpy as np
import pytest

from glassgpt.data.order import permute

MASK = 2**64 - 1


def mix(x: int) -> int:
    x = (x + 0x9E3779B97F4A7C15) & MASK
    x = (x ^ (x >> 30)) * 0xBF58476D1CE4E5B9 & MASK
    x = (x ^ (x >> 27)) * 0x94D049BB133111EB & MASK
    return x ^ (x >> 31)


def one_sample(seed: int, epoch: int, n: int, position: int) -> int:
    """The definition of order version 1, one number at a time in Python's own integers."""
    k = int.from_bytes(hashlib.sha256(f"glassgpt|order|1|{seed}|{epoch}|{n}".encode()).digest()[:8], "little")
    b = max(1, -(-(n - 1).bit_length() // 2))
    x = position
    while True:
        left, right = x >> b, x & (2**b - 1)
        for r in range(6):
            left, right = right, left ^ (mix(k ^ mix((r << b) | right)) % 2**b)
        if (x := left << b | right) < n:
            return x


def test_the_order_never_changes():
    assert permute(42, 0, 1000, np.arange(8)).tolist() == [76, 167, 649, 237, 316, 829, 677, 543]
    assert permute(42, 1, 1000, np.arange(8)).tolist() == [432, 958, 754, 789, 136, 987, 885, 769]


@pytest.mark.parametrize("n", [1, 2, 3, 4, 5, 15, 16, 17, 63, 64, 65, 100, 1000, 4097, 100_000])
def test_an_epoch_shows_every_sample_once(n: int):
    assert np.sort(permute(7, 3, n, np.arange(n))).tolist() == list(range(n))


@pytest.mark.parametrize("n", [1, 2, 77, 2**20 + 1, 10**12])
def test_many_at_once_are_what_one_at_a_time_is(n: int):
    positions = np.unique(np.linspace(0, n - 1, 50, dtype=np.int64))
    assert permute(5, 2, n, positions).tolist() == [one_sample(5, 2, n, int(p)) for p in positions]


def test_seeds_and_epochs_have_orders_of_their_own():
    orders = {tuple(permute(seed, epoch, 500, np.arange(500))) for seed in range(4) for epoch in range(4)}
    assert len(orders) == 16


def test_a_position_outside_the_epoch_is_refused():
    with pytest.raises(ValueError, match="positions 5 to 10 lie outside an epoch of 10 samples"):
        permute(1, 0, 10, np.array([5, 10]))
    assert permute(1, 0, 10, np.array([], int)).tolist() == []
