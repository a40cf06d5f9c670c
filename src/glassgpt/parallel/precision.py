"""Computing in bfloat16 while learning in float32 under DDP, which must see the float32 gradients: the objective with
its weights cast anew in every forward pass.

Small updates that bfloat16 would round away survive in the float32 weights, and gradients of several micro-batches are
summed in float32. Source: Micikevicius et al. 2018, https://arxiv.org/abs/1710.03740.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.func import functional_call


class InPrecision(nn.Module):
    """An objective whose parameters compute as ``dtype``; themselves, and their gradients, they stay as they are."""

    def __init__(self, objective: nn.Module, dtype: torch.dtype):
        super().__init__()
        self.objective = objective
        self.dtype = dtype

    def forward(self, tokens: Tensor, targets: Tensor) -> Tensor:
        weights = {name: parameter.to(self.dtype) for name, parameter in self.objective.named_parameters()}
        return functional_call(self.objective, weights, (tokens, targets))
