"""The likeliest token of each row and its log-probability in two Triton kernels: greedy choice on a GPU.

One row is too little work for one program, and each of PyTorch's operations for it is a launch. The twin is
``PlainReader.likeliest``.

B rows, V vocabulary, P parts of it
"""

from __future__ import annotations

import torch
import triton
import triton.language as tl
from torch import Tensor

BLOCK = 2048


def likeliest(logits: Tensor) -> tuple[Tensor, Tensor]:
    """The ids (B,) of the largest logits (B, V) in float32, the first of equals, and their log-probabilities (B,)."""
    B, V = logits.shape
    P = triton.cdiv(V, BLOCK)
    peaks, totals = torch.empty(2, B, P, device=logits.device)
    places = torch.empty(B, P, dtype=torch.int64, device=logits.device)
    ids, logprobs = torch.empty(B, dtype=torch.int64, device=logits.device), torch.empty(B, device=logits.device)
    part_peak_kernel[(P, B)](logits, peaks, places, totals, logits.stride(0), V, P, BLOCK, num_warps=4)
    peak_kernel[(B,)](peaks, places, totals, ids, logprobs, V, P, triton.next_power_of_2(P), num_warps=1)
    return ids, logprobs


@triton.jit
def part_peak_kernel(logits, peaks, places, totals, stride, V: tl.constexpr, P: tl.constexpr, BLOCK: tl.constexpr):
    """One part (program axis 0) of one row (axis 1)."""
    part, row = tl.program_id(0), tl.program_id(1)
    k = part * BLOCK + tl.arange(0, BLOCK)
    x = tl.load(logits + row.to(tl.int64) * stride + k, mask=k < V, other=-float("inf"))
    peak = tl.max(x, axis=0)
    tl.store(peaks + row * P + part, peak)
    tl.store(places + row * P + part, tl.min(tl.where(x == peak, k, V), axis=0).to(tl.int64))
    tl.store(totals + row * P + part, tl.sum(tl.exp(x - peak), axis=0))


@triton.jit
def peak_kernel(peaks, places, totals, ids, logprobs, V: tl.constexpr, P: tl.constexpr, WIDTH: tl.constexpr):
    """The parts of one row (program axis 0)."""
    row = tl.program_id(0)
    part = tl.arange(0, WIDTH)
    is_part = part < P
    peak = tl.load(peaks + row * P + part, mask=is_part, other=-float("inf"))
    top = tl.max(peak, axis=0)
    place = tl.load(places + row * P + part, mask=is_part, other=V)
    tl.store(ids + row, tl.min(tl.where(peak == top, place, V), axis=0))
    total = tl.load(totals + row * P + part, mask=is_part, other=0.0)
    tl.store(logprobs + row, -tl.log(tl.sum(total * tl.exp(peak - top), axis=0)))
