"""The order in which samples are seen: a permutation of 0..n-1 computed point by point, in constant memory.

Order version 1 is a Feistel network (Luby and Rackoff 1988) in integer arithmetic only, so that every machine and every
version of every library gives the same order. Knows nothing of tokens or files.
"""

from __future__ import annotations

import hashlib

import numpy as np

ORDER_VERSION = 1
ROUNDS = 6


def permute(seed: int, epoch: int, n: int, positions: np.ndarray) -> np.ndarray:
    """The samples (int64) that stand at ``positions`` of the given epoch over n samples.

    Each epoch has an order of its own, and shows every sample exactly once.

    Raises:
        ValueError: a position lies outside 0..n-1.
    """
    positions = np.asarray(positions)
    if positions.size and not 0 <= positions.min() <= positions.max() < n:
        raise ValueError(f"positions {positions.min()} to {positions.max()} lie outside an epoch of {n} samples")
    key = _key(seed, epoch, n)
    bits = max(1, ((n - 1).bit_length() + 1) // 2)
    samples = _feistel(positions.astype(np.uint64), key, bits)
    # The network permutes 4**bits numbers, at most four times n for n > 1: walk on until the number is a sample's.
    while (outside := samples >= n).any():
        samples[outside] = _feistel(samples[outside], key, bits)
    return samples.astype(np.int64)


def _key(seed: int, epoch: int, n: int) -> np.uint64:
    digest = hashlib.sha256(f"glassgpt|order|{ORDER_VERSION}|{seed}|{epoch}|{n}".encode()).digest()
    return np.uint64(int.from_bytes(digest[:8], "little"))


def _feistel(x: np.ndarray, key: np.uint64, bits: int) -> np.ndarray:
    """Permutes the numbers below 4**bits: left and right halves of ``bits`` bits each."""
    width, low = np.uint64(bits), np.uint64(2**bits - 1)
    left, right = x >> width, x & low
    for number in range(ROUNDS):
        left, right = right, left ^ (_mix(key ^ _mix(np.uint64(number << bits) | right)) & low)
    return left << width | right


def _mix(x: np.ndarray) -> np.ndarray:
    """SplitMix64 of Steele, Lea and Flood 2014, modulo 2**64."""
    x = x + np.uint64(0x9E3779B97F4A7C15)
    x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return x ^ (x >> np.uint64(31))
