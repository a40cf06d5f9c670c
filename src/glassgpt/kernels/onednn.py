"""Linear layers on the CPU through oneDNN instead of MKL, for training and generation in float32.

PyTorch sends float32 matrix products to MKL, which on AMD processors reaches half of what oneDNN reaches on the same
machine, and half of the memory bandwidth when there is a single row (benchmarks/linear_cpu.py measures both). The twin
is ``F.linear``: same arguments, same results up to rounding.

N rows, I in, O out
"""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from glassgpt.kernels import training
from glassgpt.model.gpt import GPT


def is_available() -> bool:
    """Whether this build of torch has oneDNN."""
    return torch.backends.mkldnn.is_available()


def linear(x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """``F.linear(x, weight, bias)`` with gradients, computed by oneDNN; all on the CPU in float32."""
    return _Linear.apply(x, weight, bias)


def faster_linear(x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """``F.linear(x, weight, bias)`` with gradients, by oneDNN where that is faster: in float32 on the CPU."""
    is_faster = x.dtype == weight.dtype == torch.float32 and x.device.type == "cpu" and is_available()
    return (linear if is_faster else F.linear)(x, weight, bias)


class _Linear(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        ctx.save_for_backward(x, weight)
        return product(x, weight, bias)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, Tensor | None, Tensor | None]:
        [grad] = grads
        x, weight = ctx.saved_tensors
        needs_x, needs_weight, needs_bias = ctx.needs_input_grad
        rows = grad.reshape(-1, grad.shape[-1])  # (N, O)
        return (
            product(grad, weight.T, None) if needs_x else None,
            product(rows.T, x.reshape(-1, x.shape[-1]).T, None) if needs_weight else None,
            rows.sum(0) if needs_bias else None,
        )


def product(x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    """``F.linear`` by oneDNN, without gradients."""
    if x.ndim == 2 and not x.is_contiguous() and x.T.is_contiguous() and training.library() is not None:
        x = training.turned(x.T)  # oneDNN's caller would do the same, four times as slowly
    return torch.ops.mkldnn._linear_pointwise(x, weight, bias, "none", [], "")


class OneDnnLinear(nn.Linear):
    """An nn.Linear whose product oneDNN computes where it is the faster one."""

    def forward(self, input: Tensor) -> Tensor:
        return faster_linear(input, self.weight, self.bias)


class TiedHead(nn.Module):
    """The output layer of a tied model, computed by oneDNN; it owns no parameter."""

    def __init__(self, embedding: nn.Embedding):
        super().__init__()
        self.embedding = (embedding,)  # in a tuple, so that the weight is not registered a second time

    def forward(self, hidden: Tensor) -> Tensor:
        return faster_linear(hidden, self.embedding[0].weight)


def use_onednn(model: GPT) -> None:
    """Gives every linear layer of a GPT on the CPU, and its head, oneDNN's product; parameters stay the same."""
    for parent in list(model.modules()):
        for name, child in list(parent.named_children()):
            if type(child) is nn.Linear:
                with torch.device("meta"):
                    fast = OneDnnLinear(child.in_features, child.out_features, bias=child.bias is not None)
                fast.weight, fast.bias = child.weight, child.bias
                setattr(parent, name, fast)
    if model.head is None:
        model.head = TiedHead(model.token_embedding)
