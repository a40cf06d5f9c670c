"""Muon: momentum whose updates of matrices are made orthogonal before they are applied. Knows nothing of models.

It computes what torch.optim.Muon does, but many matrices at once and in float32 on the CPU: torch's is in bfloat16
alone, which processors without instructions for it compute many times more slowly.
Sources: Jordan 2024, https://kellerjordan.github.io/posts/muon; Liu et al. 2025, https://arxiv.org/abs/2502.16982.

N matrices
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

COEFFICIENTS = (3.4445, -4.7750, 2.0315)  # of Jordan's polynomial, steepest at zero
STEPS = 5


class Muon(torch.optim.Optimizer):
    """The optimizer of matrices; all parameters of one group have one shape.

    The rows of a group with ``head_dim`` are ordered (head, q|k|v, dim): each holds three matrices, which are made
    orthogonal each for itself. Updates are scaled to the size of AdamW's, so that both can share a learning rate.
    """

    def __init__(self, groups: list[dict[str, Any]], weight_decay: float, momentum: float):
        super().__init__(groups, {"lr": 0.0, "weight_decay": weight_decay, "momentum": momentum, "head_dim": None})

    @torch.no_grad()
    def step(self, closure: None = None) -> None:  # pyrefly: ignore[bad-override]
        """Applies the gradients to the parameters, each of which must have one."""
        for group in self.param_groups:
            updates = torch.stack([self.look_ahead(p, group["momentum"]) for p in group["params"]])
            matrices = updates if group["head_dim"] is None else split_qkv(updates, group["head_dim"])
            scale = 0.2 * max(matrices.shape[-2:]) ** 0.5
            matrices = orthogonal(matrices, torch.float32 if matrices.device.type == "cpu" else torch.bfloat16)
            updates = matrices if group["head_dim"] is None else join_qkv(matrices, group["head_dim"])
            for parameter, update in zip(group["params"], updates, strict=True):
                parameter.mul_(1 - group["lr"] * group["weight_decay"])
                parameter.add_(update, alpha=-group["lr"] * scale)

    def look_ahead(self, parameter: Tensor, momentum: float) -> Tensor:
        """Takes the gradient into the momentum; returns where that leads one step further, after Nesterov."""
        assert parameter.grad is not None
        state = self.state[parameter]
        if "momentum_buffer" not in state:
            state["momentum_buffer"] = torch.zeros_like(parameter)
        buffer = state["momentum_buffer"].lerp_(parameter.grad, 1 - momentum)
        return parameter.grad.lerp(buffer, momentum)


def orthogonal(matrices: Tensor, dtype: torch.dtype) -> Tensor:
    """Matrices (..., m, n) of the same singular vectors, their singular values drawn close to 1 by Newton-Schulz."""
    a, b, c = COEFFICIENTS
    is_tall = matrices.shape[-2] > matrices.shape[-1]
    x = (matrices.mT if is_tall else matrices).flatten(0, -3).to(dtype)  # (N, m, n), m <= n
    x = x / x.norm(dim=(-2, -1), keepdim=True).clamp(min=1e-7)
    for _ in range(STEPS):
        gram = x @ x.mT  # (N, m, m)
        gram = torch.baddbmm(gram, gram, gram, beta=b, alpha=c)
        x = torch.baddbmm(x, gram, x, beta=a)
    return (x.mT if is_tall else x).reshape(matrices.shape).to(matrices.dtype)


def split_qkv(weights: Tensor, head_dim: int) -> Tensor:
    """(N, 3 * C, C) as (N, 3, C, C): queries, keys, values."""
    return weights.unflatten(1, (-1, 3, head_dim)).transpose(1, 2).flatten(2, 3)


def join_qkv(matrices: Tensor, head_dim: int) -> Tensor:
    """(N, 3, C, C) as (N, 3 * C, C), the rows ordered (head, q|k|v, dim)."""
    return matrices.unflatten(2, (-1, head_dim)).transpose(1, 2).flatten(1, 3)
