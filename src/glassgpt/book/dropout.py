"""The two ways in which PyTorch draws dropout on a CPU, either of them playable on any machine. Knows no model.

The usual packages leave the draw to Intel's MKL on an Intel CPU and draw themselves on every other. Both start from the
same random state and drop other units, so each number that the chapter prints in training mode exists in two versions.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.overrides import TorchFunctionMode

DEFAULT, MKL = "cpu-dropout-default", "cpu-dropout-mkl-intel"  # as the ledger names them
MCG31_MULTIPLIER, MCG31_MODULUS = 1132489760, 2**31 - 1


def own_sampler() -> str | None:
    """The name of the sampler that this machine's dropout uses, or None if it is neither of the two."""
    ones = torch.ones(1000)
    with torch.random.fork_rng(devices=[]):
        for name, sample in SAMPLERS.items():
            torch.manual_seed(123)
            kept = F.dropout(ones, 0.1) != 0
            torch.manual_seed(123)
            if torch.equal(kept, sample(len(ones), 0.9)):
                return name
    return None


def drawn_by(name: str | None) -> AbstractContextManager[Any]:
    """A context in which dropout is drawn by the sampler of this name; None leaves it as it is."""
    return nullcontext() if name is None or name == own_sampler() else _DropoutDrawnBy(SAMPLERS[name])


class _DropoutDrawnBy(TorchFunctionMode):
    """Takes the place of ``F.dropout`` and lets every other function pass."""

    def __init__(self, sample: Callable[[int, float], Tensor]):
        super().__init__()
        self.sample = sample

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        function = self.dropout if func is F.dropout else func
        return function(*args, **(kwargs or {}))

    def dropout(self, input: Tensor, p: float = 0.5, training: bool = True, inplace: bool = False) -> Tensor:
        if not training or p == 0:
            return input
        kept = self.sample(input.numel(), 1 - p).view_as(input)
        return input * kept / (1 - p)


def sample_default(count: int, keep: float) -> Tensor:
    """What to keep of ``count`` units, drawn by PyTorch: a unit stays if a random double is below ``keep``."""
    return torch.rand(count, dtype=torch.float64) < keep


def sample_mkl(count: int, keep: float) -> Tensor:
    """What to keep of ``count`` units, drawn by MKL: its generator MCG31m1, seeded with PyTorch's next 32 random bits.

    Source: bernoulli_mkl_kernel in PyTorch's DistributionKernels.cpp; Intel's Notes for oneMKL Vector Statistics.
    """
    state = torch.get_rng_state()
    bits = int(torch.empty(1, dtype=torch.int64).random_(-(2**63), None))  # two draws of 32 bits, the first on top
    torch.set_rng_state(state)
    torch.rand(1)  # one draw is used up
    x = torch.tensor([(bits >> 32) % 2**32 % MCG31_MODULUS or 1])
    while len(x) < count:  # x[i] is x[0] * multiplier**i; the products stay below 2**62
        x = torch.cat((x, x * pow(MCG31_MULTIPLIER, len(x), MCG31_MODULUS) % MCG31_MODULUS))
    return x[:count].double() / MCG31_MODULUS < keep


SAMPLERS = {DEFAULT: sample_default, MKL: sample_mkl}
