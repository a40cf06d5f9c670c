"""The matrix products of one new token a sequence on a GPU, each in one kernel with what comes before and after it.

With so few rows a product is bound by reading its matrix, and a step by how many kernels it launches. Activations are
float32 whatever the weights are; the twins are the modules of ``model.gpt`` in float32.

B rows, C inputs, N outputs, H heads, D head_dim, P parts of attention
"""

from __future__ import annotations

import torch
import triton
import triton.language as tl
from torch import Tensor, nn

from glassgpt.kernels.decode_attention import LiveLayer

CHUNK = 1024  # inputs that a program reads at once
MERGE_CHUNK = 256  # fewer, where each is first merged from parts
MANY_OUTPUTS = 16384  # as those of an output layer: a program takes more of them, as each normalises its input anew


def embed(tokens: Tensor, slots: Tensor, token_weight: Tensor, position_weight: Tensor) -> Tensor:
    """What tokens (B, 1) at slots (B, 1) mean, (B, C) in float32."""
    B, C = len(tokens), token_weight.shape[1]
    x = torch.empty(B, C, device=tokens.device)
    embed_kernel[(B,)](tokens, slots, token_weight, position_weight, x, C, triton.next_power_of_2(C), num_warps=4)
    return x


def norm_linear(x: Tensor, norm: nn.LayerNorm, weight: Tensor, bias: Tensor | None, gelu: bool = False) -> Tensor:
    """``gelu(linear(norm(x)))`` of x (B, C), both float32; without ``gelu`` the product itself."""
    (B, C), N = x.shape, len(weight)
    y = torch.empty(B, N, device=x.device)
    width, chunk = triton.next_power_of_2(C), min(CHUNK, triton.next_power_of_2(C))
    rows, num_warps = (16, 8) if N > MANY_OUTPUTS else (4, 4)
    norm_linear_kernel[(triton.cdiv(N, rows), B)](
        x, norm.weight, norm.bias, norm.eps, weight, bias, y, N, C, rows, width, chunk, gelu, num_warps=num_warps
    )
    return y


def norm_qkv(x: Tensor, norm: nn.LayerNorm, qkv: nn.Linear, layer: LiveLayer, head_dim: int) -> Tensor:
    """The queries (B, H, 1, D) of x (B, C), both float32; keys and values go to their slots in the layer's cache."""
    (B, C), cache, D = x.shape, layer.cache, head_dim
    q = torch.empty(B, C // D, 1, D, device=x.device)
    rows, width, chunk = 4, triton.next_power_of_2(C), min(CHUNK, triton.next_power_of_2(C))
    norm_qkv_kernel[(triton.cdiv(3 * C, rows), B)](
        x, norm.weight, norm.bias, norm.eps, qkv.weight, qkv.bias, q, layer.k, layer.v, cache.rows, cache.slots,
        *layer.k.stride()[:3], D, 3 * C, C, rows, width, chunk, num_warps=4,
    )  # fmt: skip
    return q


def add_linear(x: Tensor, h: Tensor, linear: nn.Linear) -> None:
    """Adds ``linear(h)`` of h (B, C) to x (B, N), both float32."""
    (B, C), N = h.shape, x.shape[1]
    rows, chunk = 2, min(CHUNK, triton.next_power_of_2(C))
    add_linear_kernel[(triton.cdiv(N, rows), B)](x, h, linear.weight, linear.bias, N, C, rows, chunk, num_warps=4)


def add_linear_of_parts(x: Tensor, parts: tuple[Tensor, Tensor, Tensor], linear: nn.Linear) -> None:
    """Adds ``linear`` of what ``attend_parts`` returns for B single queries, merged, to x (B, C) in float32."""
    (B, C), (_, P, D) = x.shape, parts[0].shape
    rows, chunk = 8, min(MERGE_CHUNK, triton.next_power_of_2(C))
    add_linear_of_parts_kernel[(triton.cdiv(C, rows), B)](
        x, *parts, linear.weight, linear.bias, P, D, C, rows, chunk, num_warps=8
    )


@triton.jit
def embed_kernel(tokens, slots, token_weight, position_weight, x, C: tl.constexpr, WIDTH: tl.constexpr):
    """One row (program axis 0)."""
    row = tl.program_id(0)
    c = tl.arange(0, WIDTH)
    token = tl.load(token_weight + tl.load(tokens + row) * C + c, mask=c < C)
    position = tl.load(position_weight + tl.load(slots + row) * C + c, mask=c < C)
    tl.store(x + row * C + c, token.to(tl.float32) + position.to(tl.float32), mask=c < C)


@triton.jit
def norm_linear_kernel(
    x, gain, shift, eps, weight, bias, y,
    N: tl.constexpr, C: tl.constexpr, ROWS: tl.constexpr, WIDTH: tl.constexpr, CHUNK: tl.constexpr, GELU: tl.constexpr,
):  # fmt: skip
    """ROWS outputs (program axis 0) of one row (axis 1)."""
    row = tl.program_id(1)
    n = tl.program_id(0) * ROWS + tl.arange(0, ROWS)
    out = normalized_product(x + row * C, gain, shift, eps, weight, bias, n, N, C, WIDTH, CHUNK)
    if GELU:
        out = out * tl.sigmoid(1.5957691216057308 * (out + 0.044715 * out * out * out))  # of tanh, written without it
    tl.store(y + row * N + n, out, mask=n < N)


@triton.jit
def norm_qkv_kernel(
    x, gain, shift, eps, weight, bias, q, keys, values, rows, slots, to_row, to_head, to_slot,
    D: tl.constexpr, N: tl.constexpr, C: tl.constexpr, ROWS: tl.constexpr, WIDTH: tl.constexpr, CHUNK: tl.constexpr,
):  # fmt: skip
    """ROWS outputs (program axis 0), ordered (head, q|k|v, dim), of one row (axis 1)."""
    row = tl.program_id(1)
    n = tl.program_id(0) * ROWS + tl.arange(0, ROWS)
    out = normalized_product(x + row * C, gain, shift, eps, weight, bias, n, N, C, WIDTH, CHUNK)
    head = n // (3 * D)
    kind = n // D % 3
    d = n % D
    to = tl.load(rows + row) * to_row + head * to_head + tl.load(slots + row) * to_slot + d
    tl.store(q + row * C + head * D + d, out, mask=(n < N) & (kind == 0))
    tl.store(keys + to, out.to(keys.dtype.element_ty), mask=(n < N) & (kind == 1))
    tl.store(values + to, out.to(values.dtype.element_ty), mask=(n < N) & (kind == 2))


@triton.jit
def add_linear_kernel(x, h, weight, bias, N: tl.constexpr, C: tl.constexpr, ROWS: tl.constexpr, CHUNK: tl.constexpr):
    """ROWS outputs (program axis 0) of one row (axis 1)."""
    row = tl.program_id(1)
    n = tl.program_id(0) * ROWS + tl.arange(0, ROWS)
    out = tl.load(x + row * N + n, mask=n < N, other=0.0) + tl.load(bias + n, mask=n < N, other=0.0).to(tl.float32)
    for start in range(0, C, CHUNK):
        k = start + tl.arange(0, CHUNK)
        w = tile(weight, n, k, N, C)
        out += tl.sum(w * tl.load(h + row * C + k, mask=k < C, other=0.0)[None, :], axis=1)
    tl.store(x + row * N + n, out, mask=n < N)


@triton.jit
def add_linear_of_parts_kernel(
    x, sums, peaks, totals, weight, bias,
    P: tl.constexpr, D: tl.constexpr, C: tl.constexpr, ROWS: tl.constexpr, CHUNK: tl.constexpr,
):  # fmt: skip
    """ROWS outputs (program axis 0) of one row (axis 1)."""
    row = tl.program_id(1)
    n = tl.program_id(0) * ROWS + tl.arange(0, ROWS)
    out = tl.load(x + row * C + n, mask=n < C, other=0.0) + tl.load(bias + n, mask=n < C, other=0.0).to(tl.float32)
    for start in range(0, C, CHUNK):
        k = start + tl.arange(0, CHUNK)
        is_input = (k < C)[None, :]
        w = tile(weight, n, k, C, C)
        part = ((row * (C // D) + k // D) * P)[None, :] + tl.arange(0, P)[:, None]
        peak = tl.load(peaks + part, mask=is_input, other=0.0)
        share = tl.exp(peak - tl.max(peak, axis=0)[None, :])
        total = tl.sum(share * tl.load(totals + part, mask=is_input, other=1.0), axis=0)
        sum = tl.sum(share * tl.load(sums + part * D + (k % D)[None, :], mask=is_input, other=0.0), axis=0)
        out += tl.sum(w * (sum / total)[None, :], axis=1)
    tl.store(x + row * C + n, out, mask=n < C)


@triton.jit
def normalized_product(
    x, gain, shift, eps, weight, bias, n, N: tl.constexpr, C: tl.constexpr, WIDTH: tl.constexpr, CHUNK: tl.constexpr
):
    """Outputs n of the linear layer for the normalised x (C,)."""
    w = tile(weight, n, tl.arange(0, CHUNK), N, C)  # long before it is needed: the statistics meanwhile take their time
    c = tl.arange(0, WIDTH)
    whole = tl.load(x + c, mask=c < C, other=0.0)
    mean = tl.sum(whole, axis=0) / C
    centred = tl.where(c < C, whole - mean, 0.0)
    scale = tl.rsqrt(tl.sum(centred * centred, axis=0) / C + eps)
    out = tl.zeros_like(n).to(tl.float32)
    for start in range(0, C, CHUNK):
        k = start + tl.arange(0, CHUNK)
        h = (tl.load(x + k, mask=k < C, other=0.0) - mean) * scale
        h = h * tl.load(gain + k, mask=k < C, other=0.0).to(tl.float32)
        h = h + tl.load(shift + k, mask=k < C, other=0.0).to(tl.float32)
        out += tl.sum(w * h[None, :], axis=1)
        w = tile(weight, n, k + CHUNK, N, C)
    if bias is not None:
        out += tl.load(bias + n, mask=n < N, other=0.0).to(tl.float32)
    return out


@triton.jit
def tile(weight, n, k, N: tl.constexpr, C: tl.constexpr):
    """Rows n and columns k of a matrix (N, C) in float32; zeros beyond it."""
    inside = (n < N)[:, None] & (k < C)[None, :]
    return tl.load(weight + n.to(tl.int64)[:, None] * C + k[None, :], mask=inside, other=0.0).to(tl.float32)
