"""What a training step on the CPU does beside products with weights: GELU, attention, cross-entropy, by
``native/train.cpp``.

Each has its gradient. The twins are ``F.gelu``, ``model.attention.attend`` and
``training.loss.plain_cross_entropy_``: the same results up to rounding.

B batch, T tokens, H heads, D head_dim, N rows, V vocabulary
"""

from __future__ import annotations

import ctypes
import functools
from typing import Any, cast

import torch
from torch import Tensor, nn

from glassgpt.kernels.compiled import load
from glassgpt.model import attention
from glassgpt.model.gpt import GPT, MLP, use_attention

LONGEST = 1024  # tokens of a sequence in float32: the scores of a head must fit a core's share of the cache
SCRATCH = 4 * 2**20  # bytes of attention's scores at a time: what a core's cache holds


@functools.cache
def library(instructions: str | None = None) -> ctypes.CDLL | None:
    """``native/train.cpp``, or None; arguments as in ``compiled.load``."""
    if (lib := load("train", instructions)) is None:
        return None
    pointer, count, flag = ctypes.c_void_p, ctypes.c_int64, ctypes.c_int
    lib.glassgpt_gelu.argtypes = [flag, pointer, pointer, count]
    lib.glassgpt_gelu_backward.argtypes = [flag, pointer, pointer, pointer, count]
    lib.glassgpt_attend.argtypes = [pointer, count, count, count, count]
    lib.glassgpt_attend_backward.argtypes = [pointer, count, count, count, count]
    lib.glassgpt_softmax.argtypes = [pointer, count, count, ctypes.c_float]
    lib.glassgpt_softmax_backward.argtypes = [pointer, pointer, count, count, ctypes.c_float]
    lib.glassgpt_turn.argtypes = [pointer, pointer, count, count]
    lib.glassgpt_cross_entropy.argtypes = [flag, pointer, pointer, pointer, count, count, ctypes.c_float]
    return lib


def use_training_kernels(model: GPT) -> bool:
    """Gives every block of a GPT on the CPU these kernels; parameters stay the same. False if there is no compiler."""
    if library() is None:
        return False
    use_attention(model, attend)
    for block in model.blocks:
        block.mlp = FastMLP(cast(MLP, block.mlp))
    return True


class FastMLP(nn.Module):
    """The feed-forward part over the same layers, with this file's GELU."""

    def __init__(self, mlp: MLP):
        super().__init__()
        self.up, self.down = mlp.up, mlp.down

    def forward(self, x: Tensor) -> Tensor:
        return self.down(gelu(self.up(x)))


def gelu(x: Tensor) -> Tensor:
    """``F.gelu(x, approximate="tanh")`` in float32 or bfloat16."""
    return _Gelu.apply(x)


class _Gelu(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        x = x.contiguous()
        ctx.save_for_backward(x)
        y = torch.empty_like(x)
        _call("gelu", _is_bfloat16(x), x.data_ptr(), y.data_ptr(), x.numel())
        return y

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> Tensor:
        [x], grad = ctx.saved_tensors, grads[0].contiguous()
        slope = torch.empty_like(x)
        _call("gelu_backward", _is_bfloat16(x), x.data_ptr(), grad.data_ptr(), slope.data_ptr(), x.numel())
        return slope


def attend(q: Tensor, k: Tensor, v: Tensor, visible: Tensor | None, dropout: float) -> Tensor:
    """``model.attention.attend``, which is also what computes anything but causal attention without dropout."""
    is_causal = visible is None and q.shape[2] > 1 and q.shape == k.shape and dropout == 0
    if is_causal and q.dtype == torch.bfloat16:
        return _NarrowAttention.apply(q, k, v)
    if is_causal and q.dtype == torch.float32 and q.shape[2] <= LONGEST:
        return _Attention.apply(q, k, v)
    return attention.attend(q, k, v, visible, dropout)


class _Attention(torch.autograd.Function):
    """In float32, where PyTorch's takes two to three times as long, one head after another."""

    @staticmethod
    def forward(ctx: Any, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        q, k, v = (_with_rows(x) for x in (q, k, v))
        ctx.save_for_backward(q, k, v)
        y = _blank(q)
        _call("attend", _views(q, k, v, y), *q.shape)
        return y

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, ...]:  # pyrefly: ignore[bad-override]
        saved, dy = ctx.saved_tensors, _with_rows(grads[0])
        gradients = tuple(map(_blank, saved))
        _call("attend_backward", _views(*saved, dy, *gradients), *dy.shape)
        return gradients


class _View(ctypes.Structure):
    _fields_ = [
        ("data", ctypes.c_void_p),
        ("sequence", ctypes.c_int64),
        ("head", ctypes.c_int64),
        ("token", ctypes.c_int64),
    ]


def _views(*tensors: Tensor) -> ctypes.Array[_View]:
    """Where tensors (B, H, T, D) lie; for the time of a call."""
    return (_View * len(tensors))(*(_View(x.data_ptr(), *x.stride()[:3]) for x in tensors))


def _with_rows(x: Tensor) -> Tensor:
    """The same numbers, those of a row side by side."""
    return x if x.stride(-1) == 1 else x.contiguous()


def _blank(x: Tensor) -> Tensor:
    """Memory for a tensor like x (B, H, T, D), a token's heads side by side, as the layers around attention want it."""
    return torch.empty_like(x.transpose(1, 2), memory_format=torch.contiguous_format).transpose(1, 2)


class _NarrowAttention(torch.autograd.Function):
    """In bfloat16 by matrix products, some heads at a time, so that their scores stay in the cache. The backward pass
    computes them a second time, as FlashAttention does, and so no scores are kept. Source: Dao et al. 2022,
    https://arxiv.org/abs/2205.14135."""

    @staticmethod
    def forward(ctx: Any, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        heads = [x.flatten(0, 1) for x in (q, k, v)]  # each (B * H, T, D)
        ctx.save_for_backward(*heads)
        ctx.shape = q.shape
        y = torch.empty_like(heads[0])
        probabilities = _scratch(heads[0])
        for q, k, v, part in zip(*(x.split(len(probabilities)) for x in (*heads, y)), strict=True):
            torch.bmm(_softmax(q, k, probabilities), v, out=part)
        return y.view(ctx.shape)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, Tensor, Tensor]:  # pyrefly: ignore[bad-override]
        heads = ctx.saved_tensors
        gradients = [torch.empty_like(x) for x in heads]
        tensors = (*heads, grads[0].flatten(0, 1), *gradients)
        probabilities, errors = _scratch(heads[0]), _scratch(heads[0])
        for q, k, v, dy, dq, dk, dv in zip(*(x.split(len(probabilities)) for x in tensors), strict=True):
            p = _softmax(q, k, probabilities)
            torch.bmm(p.mT, dy, out=dv)
            d = torch.bmm(dy, v.mT, out=errors[: len(q)])
            _call("softmax_backward", p.data_ptr(), d.data_ptr(), len(p), p.shape[-1], _scale(q))
            torch.bmm(d, k, out=dq)
            torch.bmm(d.mT, q, out=dk)
        dq, dk, dv = (x.view(ctx.shape) for x in gradients)
        return dq, dk, dv


def _scratch(heads: Tensor) -> Tensor:
    """Room for the scores (heads, T, T) of as many heads as go at a time."""
    T = heads.shape[1]
    return heads.new_empty(min(len(heads), max(1, SCRATCH // (T * T * heads.itemsize))), T, T)


def _softmax(q: Tensor, k: Tensor, room: Tensor) -> Tensor:
    """The causal attention (heads, T, T) of q over k, in ``room``."""
    scores = torch.bmm(q, k.mT, out=room[: len(q)])
    _call("softmax", scores.data_ptr(), len(scores), scores.shape[-1], _scale(q))
    return scores


def _scale(q: Tensor) -> float:
    return q.shape[-1] ** -0.5


def cross_entropy_(logits: Tensor, targets: Tensor, scale: float) -> Tensor:
    """The cross-entropy (N,) of logits (N, V), which become ``scale`` times its gradient."""
    losses = torch.empty(len(logits), dtype=torch.float32)
    _call(
        "cross_entropy",
        _is_bfloat16(logits),
        logits.data_ptr(),
        targets.data_ptr(),
        losses.data_ptr(),
        *logits.shape,
        scale,
    )
    return losses


def _is_bfloat16(x: Tensor) -> bool:
    assert x.is_contiguous() and x.dtype in (torch.float32, torch.bfloat16)
    return x.dtype == torch.bfloat16


def turned(x: Tensor) -> Tensor:
    """x (N, M) in float32, contiguous, as a contiguous (M, N)."""
    y = x.new_empty(x.shape[1], x.shape[0])
    _call("turn", x.data_ptr(), y.data_ptr(), *x.shape)
    return y


def _call(name: str, *arguments: Any) -> None:
    lib = library()
    assert lib is not None
    getattr(lib, f"glassgpt_{name}")(*arguments)
