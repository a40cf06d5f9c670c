"""Attention of the newest tokens over a static cache, in Triton: reads the keys that a row holds and no others.

The keys of a row are divided into parts that different programs read at once, which fills the device even for a batch
of one; a second kernel merges the parts. Source: Dao et al. 2023, https://pytorch.org/blog/flash-decoding. The twins
are ``model.attention.attend`` under the mask of the cache, and ``StaticLayer.append``.

B batch, T new tokens, S capacity, H heads, D head_dim, P parts, N = B * H * T
"""

from __future__ import annotations

import torch
import triton
import triton.language as tl
from torch import Tensor

from glassgpt.model.static_cache import StaticLayer

PROGRAMS = 256  # about two for each multiprocessor of a large GPU
BLOCK = 64  # keys that a program reads at once


class LiveLayer(StaticLayer):
    """A layer that appends by one kernel and leaves the keys where they are: its reader is DecodeAttention."""

    def append(self, k: Tensor, v: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Stores k and v (B, H, T, D) after what each row holds; returns the keys and values of all rows there are, and
        for visibility the slot of each new token, the last it may look at."""
        store(self.k, self.v, k, v, self.cache.rows, self.cache.slots)
        return self.k, self.v, self.cache.slots


class DecodeAttention:
    """The ``attend`` of a model while it reads a cache of LiveLayers, ``rows`` (B,) of it."""

    def __init__(self, rows: Tensor):
        self.rows = rows

    def __call__(self, q: Tensor, k: Tensor, v: Tensor, visible: Tensor | None, dropout: float) -> Tensor:
        assert visible is not None and dropout == 0.0
        return attend_live(q, k, v, self.rows, visible)


def attend_live(q: Tensor, k: Tensor, v: Tensor, rows: Tensor, slots: Tensor, num_parts: int | None = None) -> Tensor:
    """Attention (B, H, T, D) of q (B, H, T, D) over row ``rows[b]`` of k and v (rows, H, S, D) up to its slot
    ``slots[b, t]``. T is small: each query reads the keys for itself."""
    B, H, T, D = q.shape
    P = num_parts or parts(B * H * T, k.shape[2])
    sums, peaks, totals = attend_parts(q, k, v, rows, slots, P)
    y = torch.empty(B, T, H, D, dtype=q.dtype, device=q.device)
    merge_kernel[(B * H * T,)](sums, peaks, totals, y, H, T, P, D, triton.next_power_of_2(D), num_warps=2)
    return y.transpose(1, 2)


def attend_parts(q: Tensor, k: Tensor, v: Tensor, rows: Tensor, slots: Tensor, P: int) -> tuple[Tensor, Tensor, Tensor]:
    """What P parts of the keys say: sums of values weighted by exp(score - peak) (N, P, D), the peaks and the totals
    of the weights, each (N, P). A part without keys has the peak -inf."""
    B, H, T, D = q.shape
    assert k.stride() == v.stride() and q.stride(3) == k.stride(3) == 1
    sums = torch.empty(B * H * T, P, D, dtype=torch.float32, device=q.device)
    peaks, totals = torch.empty(2, B * H * T, P, dtype=torch.float32, device=q.device)
    part_kernel[(B * H * T, P)](
        q, k, v, rows, slots, sums, peaks, totals, D**-0.5, *q.stride()[:3], *k.stride()[:3],
        H, T, P, D, triton.next_power_of_2(D), BLOCK, num_warps=4,
    )  # fmt: skip
    return sums, peaks, totals


def parts(N: int, S: int) -> int:
    """How many parts to divide S keys into for N queries: a power of two, each of a block at least."""
    wanted = max(1, min(PROGRAMS // N, S // BLOCK))
    return 1 << (wanted.bit_length() - 1)


def store(keys: Tensor, values: Tensor, k: Tensor, v: Tensor, rows: Tensor, slots: Tensor) -> None:
    """Writes token t of k and v (B, H, T, D) to slot ``slots[b, t]`` of row ``rows[b]`` in keys and values."""
    B, H, T, D = k.shape
    assert k.stride() == v.stride() and keys.stride() == values.stride() and k.stride(3) == keys.stride(3) == 1
    store_kernel[(B * T, H)](
        keys, values, k, v, rows, slots, *keys.stride()[:3], *k.stride()[:3],
        T, D, triton.next_power_of_2(D), num_warps=1,
    )  # fmt: skip


@triton.jit
def part_kernel(
    q, k, v, rows, slots, sums, peaks, totals, scale, q_row, q_head, q_token, k_row, k_head, k_slot,
    H: tl.constexpr, T: tl.constexpr, P: tl.constexpr, D: tl.constexpr, WIDTH: tl.constexpr, KEYS: tl.constexpr,
):  # fmt: skip
    """One query (program axis 0) over one part of the keys (axis 1)."""
    n = tl.program_id(0)
    part = tl.program_id(1)
    row = n // (H * T)
    head = n // T % H
    token = n % T
    end = tl.load(slots + row * T + token).to(tl.int32) + 1
    length = tl.cdiv(end, P * KEYS) * KEYS  # of a part, whole blocks: what a row holds is divided, not what it could
    first = part * length
    last = tl.minimum(first + length, end)

    d = tl.arange(0, WIDTH)
    is_dim = d < D
    x = tl.load(q + row * q_row + head * q_head + token * q_token + d, mask=is_dim, other=0.0).to(tl.float32) * scale
    block = tl.load(rows + row) * k_row + head * k_head
    peak = -float("inf")
    total = 0.0
    sum = tl.zeros([WIDTH], dtype=tl.float32)
    for start in range(first, last, KEYS):
        key = start + tl.arange(0, KEYS)
        is_live = key < last
        where = block + key[:, None] * k_slot + d[None, :]
        mask = is_live[:, None] & is_dim[None, :]
        keys = tl.load(k + where, mask=mask, other=0.0).to(tl.float32)
        values = tl.load(v + where, mask=mask, other=0.0).to(tl.float32)
        scores = tl.where(is_live, tl.sum(keys * x[None, :], axis=1), -float("inf"))
        higher = tl.maximum(peak, tl.max(scores, axis=0))
        weights = tl.exp(scores - higher)
        shrink = tl.exp(peak - higher)
        total = total * shrink + tl.sum(weights, axis=0)
        sum = sum * shrink + tl.sum(values * weights[:, None], axis=0)
        peak = higher
    tl.store(sums + (n * P + part) * D + d, sum, mask=is_dim)
    tl.store(peaks + n * P + part, peak)
    tl.store(totals + n * P + part, total)


@triton.jit
def merge_kernel(
    sums, peaks, totals, y, H: tl.constexpr, T: tl.constexpr, P: tl.constexpr, D: tl.constexpr, WIDTH: tl.constexpr
):
    """The parts of one query as one; y is (B, T, H, D)."""
    n = tl.program_id(0)
    part = tl.arange(0, P)
    d = tl.arange(0, WIDTH)
    is_dim = d < D
    peak = tl.load(peaks + n * P + part)
    weight = tl.exp(peak - tl.max(peak, axis=0))
    total = tl.sum(weight * tl.load(totals + n * P + part), axis=0)
    sum = tl.load(sums + (n * P + part)[:, None] * D + d[None, :], mask=is_dim[None, :], other=0.0)
    mean = tl.sum(sum * weight[:, None], axis=0) / total
    row = n // (H * T)
    out = ((row * T + n % T) * H + n // T % H) * D + d
    tl.store(y + out, mean.to(y.dtype.element_ty), mask=is_dim)


@triton.jit
def store_kernel(
    keys, values, k, v, rows, slots, to_row, to_head, to_slot, from_row, from_head, from_token,
    T: tl.constexpr, D: tl.constexpr, WIDTH: tl.constexpr,
):  # fmt: skip
    """One head (program axis 1) of one token (axis 0)."""
    n = tl.program_id(0)
    head = tl.program_id(1)
    row = n // T
    slot = tl.load(slots + n)
    d = tl.arange(0, WIDTH)
    source = row * from_row + head * from_head + n % T * from_token + d
    target = tl.load(rows + row) * to_row + head * to_head + slot * to_slot + d
    tl.store(keys + target, tl.load(k + source, mask=d < D), mask=d < D)
    tl.store(values + target, tl.load(v + source, mask=d < D), mask=d < D)
