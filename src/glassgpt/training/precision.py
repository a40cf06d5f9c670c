"""Computing in bfloat16 while learning in float32: a working copy of the model beside its master.

The master is what is initialised, stepped and saved. The copy makes the gradients. Small updates that bfloat16 would
round away survive in the master, and gradients of several micro-batches are summed in float32.
Source: Micikevicius et al. 2018, https://arxiv.org/abs/1710.03740.

V vocabulary
"""

from __future__ import annotations

import copy

import torch
from torch import nn

from glassgpt.model.gpt import GPT


class WorkingCopy:
    """``model`` computes in ``dtype``; in the master's own dtype it is the master itself and nothing is copied.

    The vocabulary of a copy can be padded with rows of zeros to a multiple of ``vocab_multiple``, for which matrix
    products on a GPU are faster. Its loss must know which logits are padding.
    """

    def __init__(self, master: GPT, dtype: torch.dtype, vocab_multiple: int = 1):
        is_same = dtype == master.token_embedding.weight.dtype
        self.model = master if is_same else copy.deepcopy(master).to(dtype)
        if not is_same:
            pad_vocabulary(self.model, vocab_multiple)
        self.pairs = [] if is_same else list(zip(master.parameters(), self.model.parameters(), strict=True))
        self.sums = [torch.empty_like(parameter) for parameter, _ in self.pairs]  # kept: new memory costs a CPU time

    def collect(self) -> None:
        """Adds the copy's gradients to the master's and clears them."""
        for (master, working), gradients in zip(self.pairs, self.sums, strict=True):
            assert working.grad is not None
            grad = working.grad[: len(master)]  # without padding
            if master.grad is None:
                master.grad = gradients.copy_(grad)
            else:
                master.grad += grad
            working.grad = None

    @torch.no_grad()
    def refresh(self) -> None:
        """Gives the copy the master's new weights."""
        for master, working in self.pairs:
            working[: len(master)].copy_(master)


@torch.no_grad()
def pad_vocabulary(model: GPT, multiple: int) -> None:
    """Adds rows of zeros to the token embedding, and to an untied head, up to a multiple of so many."""
    missing = -model.config.vocab_size % multiple
    for layer in (model.token_embedding, model.head):
        if isinstance(layer, (nn.Embedding, nn.Linear)) and missing:
            layer.weight = nn.Parameter(nn.functional.pad(layer.weight, (0, 0, 0, missing)))  # (V + missing, C)
