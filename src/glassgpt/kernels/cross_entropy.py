"""Cross-entropy whose gradient takes the place of the logits, in one Triton kernel: for training on a GPU.

The logits are the biggest tensor of a step, and no second one of their size is made. A row is read twice, the second
time from the cache, and written once. The twin is ``training.loss.plain_cross_entropy_``.

N positions, V vocabulary
"""

from __future__ import annotations

import torch
import triton
import triton.language as tl
from torch import Tensor

BLOCK = 4096


def cross_entropy_(logits: Tensor, targets: Tensor, scale: float, vocab_size: int) -> Tensor:
    """The cross-entropy (N,) in float32 of logits (N, V or more), which become ``scale`` times its gradient.

    Columns from ``vocab_size`` on are padding: no token, and no gradient.
    """
    assert logits.stride(1) == 1 and logits.shape[1] >= vocab_size
    N, width = logits.shape
    losses = torch.empty(N, device=logits.device)
    cross_entropy_kernel[(N,)](logits, targets, losses, scale, logits.stride(0), vocab_size, width, BLOCK, num_warps=8)
    return losses


@triton.jit
def cross_entropy_kernel(
    logits, targets, losses, scale, stride, V: tl.constexpr, WIDTH: tl.constexpr, BLOCK: tl.constexpr
):
    """One position (program axis 0)."""
    n = tl.program_id(0)
    row = logits + n.to(tl.int64) * stride
    target = tl.load(targets + n)
    right = tl.load(row + target).to(tl.float32)  # before anything is overwritten
    peak = tl.full([BLOCK], -1e30, dtype=tl.float32)
    total = tl.zeros([BLOCK], dtype=tl.float32)
    for start in range(0, V, BLOCK):
        k = start + tl.arange(0, BLOCK)
        x = read(row, k, V, WIDTH)
        higher = tl.maximum(peak, x)
        total = total * tl.exp(peak - higher) + tl.exp(x - higher)
        peak = higher
    top = tl.max(peak, axis=0)
    log_norm = top + tl.log(tl.sum(total * tl.exp(peak - top), axis=0))
    tl.store(losses + n, log_norm - right)
    for start in range(0, WIDTH, BLOCK):
        k = start + tl.arange(0, BLOCK)
        x = read(row, k, V, WIDTH)
        error = tl.exp(x - log_norm) - tl.where(k == target, 1.0, 0.0)
        tl.store(row + k, (error * scale).to(logits.dtype.element_ty), mask=k < WIDTH)


@triton.jit
def read(row, k, V: tl.constexpr, WIDTH: tl.constexpr):
    """Logits k in float32, those of the padding -inf: read as well, as a width of many factors lets loads be wide."""
    x = tl.load(row + k, mask=k < WIDTH, other=0.0).to(tl.float32)
    return tl.where(k < V, x, -float("inf"))
