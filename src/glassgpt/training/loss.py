"""The training objective as a module around the model: how surprised it is by the token that comes next.

Wrappers (compile, data parallelism) go around the objective, so the model's own parameter names never change.

B batch, T tokens, N = B * T, C emb_dim, V vocabulary
"""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

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
    """The same loss, computed ``rows`` positions at a time, so that no more than (rows, V) logits ever exist.

    For a large vocabulary the logits are the biggest tensor of a step: GPT-2's take 200 KB a position in float32.
    """

    def __init__(self, model: GPT, rows: int = 512):
        super().__init__()
        self.model = model
        self.rows = rows

    def forward(self, tokens: Tensor, targets: Tensor) -> Tensor:
        hidden = self.model.hidden(tokens).flatten(0, 1)  # (N, C)
        head = self.model.head if isinstance(self.model.head, nn.Linear) else self.model.token_embedding
        return LinearCrossEntropy.apply(hidden, head.weight, targets.flatten(), self.rows)


class LinearCrossEntropy(torch.autograd.Function):
    """Mean cross-entropy of ``hidden @ weight.T``. The gradients are made in the forward pass, while a chunk of logits
    is at hand, as softmax minus one-hot; the backward pass only scales them. Once differentiable."""

    @staticmethod
    def forward(ctx: Any, hidden: Tensor, weight: Tensor, targets: Tensor, rows: int) -> Tensor:
        N, wants_gradients = len(hidden), any(ctx.needs_input_grad)
        total = torch.zeros((), device=hidden.device)
        grad_hidden = torch.empty_like(hidden)
        grad_weight = torch.zeros_like(weight)
        for h, target, grad in zip(hidden.split(rows), targets.split(rows), grad_hidden.split(rows), strict=True):
            logits = (h @ weight.T).float()  # (rows, V)
            log_norm = logits.logsumexp(dim=1, keepdim=True)
            total += (log_norm - logits.gather(1, target[:, None])).sum()
            if wants_gradients:
                error = logits.sub_(log_norm).exp_()
                error.scatter_add_(1, target[:, None], error.new_full((len(h), 1), -1.0))
                error = error.div_(N).to(weight.dtype)
                torch.mm(error, weight, out=grad)
                grad_weight.addmm_(error.T, h)
        ctx.save_for_backward(grad_hidden, grad_weight)
        return total / N

    @staticmethod
    def backward(ctx: Any, scale: Tensor) -> tuple[Tensor, Tensor, None, None]:  # pyrefly: ignore[bad-override]
        grad_hidden, grad_weight = ctx.saved_tensors
        return grad_hidden * scale.to(grad_hidden.dtype), grad_weight * scale.to(grad_weight.dtype), None, None
