"""The training objective as a module around the model: how surprised it is by the token that comes next.

Wrappers (compile, data parallelism) go around the objective, so the model's own parameter names never change.

B batch, T tokens, N = B * T, C emb_dim, V vocabulary
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from glassgpt.kernels import onednn
from glassgpt.model.gpt import GPT


class NextTokenLoss(nn.Module):
    """Mean cross-entropy in nats of ``targets`` (B, T) under the model's prediction from ``tokens`` (B, T)."""

    def __init__(self, model: GPT):
        super().__init__()
        self.model = model

    def forward(self, tokens: Tensor, targets: Tensor) -> Tensor:
        logits = self.model(tokens)  # (B, T, V)
        return F.cross_entropy(logits.flatten(0, 1).float(), targets.flatten())


class ChunkedNextTokenLoss(nn.Module):
    """The same loss with its gradient made at once, ``rows`` positions at a time, so that no more than (rows, V) logits
    ever exist, and in the model's own precision.

    For a large vocabulary the logits are the biggest tensor of a step: GPT-2's take 200 KB a position in float32.
    ``cross_entropy_`` is what a faster one may replace.
    """

    def __init__(self, model: GPT, rows: int = 512, cross_entropy_: CrossEntropy | None = None):
        super().__init__()
        self.model = model
        self.rows = rows
        self.cross_entropy_ = cross_entropy_ or plain_cross_entropy_

    def forward(self, tokens: Tensor, targets: Tensor) -> Tensor:
        hidden = self.model.hidden(tokens).flatten(0, 1)  # (N, C)
        head = self.model.head if isinstance(self.model.head, nn.Linear) else self.model.token_embedding
        return LinearCrossEntropy.apply(hidden, head.weight, targets.flatten(), self.rows, self.cross_entropy_)


CrossEntropy = Callable[[Tensor, Tensor, float], Tensor]


def plain_cross_entropy_(logits: Tensor, targets: Tensor, scale: float) -> Tensor:
    """The cross-entropy (N,) of logits (N, V), which become ``scale`` times its gradient, softmax minus one-hot."""
    precise = logits.float()
    log_norm = precise.logsumexp(dim=1, keepdim=True)
    losses = log_norm - precise.gather(1, targets[:, None])
    error = torch.sub(precise, log_norm).exp_()
    error.scatter_add_(1, targets[:, None], torch.full_like(losses, -1.0))
    logits.copy_(error.mul_(scale))
    return losses[:, 0]


class LinearCrossEntropy(torch.autograd.Function):
    """Mean cross-entropy of ``hidden @ weight.T``. The gradients are made in the forward pass, while a chunk of logits
    is at hand; the backward pass only scales them. Once differentiable."""

    @staticmethod
    def forward(
        ctx: Any, hidden: Tensor, weight: Tensor, targets: Tensor, rows: int, cross_entropy_: CrossEntropy
    ) -> Tensor:
        N, wants_gradients = len(hidden), any(ctx.needs_input_grad)
        total = torch.zeros((), device=hidden.device)
        grad_hidden = torch.empty_like(hidden)
        grad_weight: Tensor | None = None
        for h, target, grad in zip(hidden.split(rows), targets.split(rows), grad_hidden.split(rows), strict=True):
            error = product(h, weight)  # (rows, V), logits that become their gradient
            total += cross_entropy_(error, target, 1 / N).sum()
            if wants_gradients:
                grad.copy_(product(error, weight.T))
                share = product(error.T, h.T)
                grad_weight = share if grad_weight is None else grad_weight.add_(share)
        ctx.save_for_backward(grad_hidden, grad_weight)
        return total / N

    @staticmethod
    def backward(ctx: Any, scale: Tensor) -> tuple[Tensor | None, ...]:  # pyrefly: ignore[bad-override]
        grad_hidden, grad_weight = ctx.saved_tensors
        return (
            grad_hidden * scale.to(grad_hidden.dtype), grad_weight * scale.to(grad_weight.dtype), None, None, None,
        )  # fmt: skip


def product(x: Tensor, weight: Tensor) -> Tensor:
    """``x @ weight.T``, in float32 on the CPU by oneDNN."""
    is_onednn = x.device.type == "cpu" and x.dtype == torch.float32 and onednn.is_available()
    return onednn.product(x, weight, None) if is_onednn else x @ weight.T
