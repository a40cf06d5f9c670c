"""Computing in bfloat16 while learning in float32: a working copy of the model beside its master.

The master is what is initialised, stepped and saved. The copy makes the gradients. Small updates that bfloat16 would
round away survive in the master, and gradients of several micro-batches are summed in float32.
Source: Micikevicius et al. 2018, https://arxiv.org/abs/1710.03740.
"""

from __future__ import annotations

import copy

import torch

from glassgpt.model.gpt import GPT


class WorkingCopy:
    """``model`` computes in ``dtype``; in the master's own dtype it is the master itself and nothing is copied."""

    def __init__(self, master: GPT, dtype: torch.dtype):
        is_same = dtype == master.token_embedding.weight.dtype
        self.model = master if is_same else copy.deepcopy(master).to(dtype)
        self.pairs = [] if is_same else list(zip(master.parameters(), self.model.parameters(), strict=True))
        self.sums = [torch.empty_like(parameter) for parameter, _ in self.pairs]  # kept: new memory costs a CPU time

    def collect(self) -> None:
        """Adds the copy's gradients to the master's and clears them."""
        for (master, working), gradients in zip(self.pairs, self.sums, strict=True):
            assert working.grad is not None
            if master.grad is None:
                master.grad = gradients.copy_(working.grad)
            else:
                master.grad += working.grad
            working.grad = None

    @torch.no_grad()
    def refresh(self) -> None:
        """Gives the copy the master's new weights."""
        for master, working in self.pairs:
            working.copy_(master)
