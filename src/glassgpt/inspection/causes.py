"""The classic ways in which two models that should be equal are not, each as a change that turns model a into model b.

To try a cause is to apply it to a: if it then computes what b computes, that is what b does otherwise.

B batch, T tokens, D head_dim
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from types import MethodType
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from glassgpt.inspection.weight_causes import other_weights, rewritings, swapped
from glassgpt.model.attention import Attend
from glassgpt.model.gpt import GPT, MLP, Attention


@dataclass(frozen=True)
class Cause:
    """Something b does otherwise; inside ``applied()`` model a does it too."""

    name: str
    explanation: str
    applied: Callable[[], AbstractContextManager[None]]


def causes(a: GPT, b: GPT) -> Iterator[Cause]:
    """All that may turn a into b, the plainest first: what b's weights show, then what only trying can show."""
    for seen in rewritings(a, b):
        yield of_weights(a, *seen)
    table = a.position_embedding.weight
    for start in (1, 2, -1):
        rows = (torch.arange(len(table)) + start).clamp(0, len(table) - 1)
        explanation = f"counts positions from {start}, not 0"
        yield Cause("positions", explanation, lambda rows=rows: swapped(a, {"position_embedding.weight": table[rows]}))
    for eps in sorted({b.config.norm_eps, 1e-5, 1e-6, 1e-8, 1e-12} - {a.config.norm_eps}):
        explanation = f"normalises with epsilon {eps:g}, not {a.config.norm_eps:g}"
        yield Cause("epsilon", explanation, lambda eps=eps: having(parts(a, nn.LayerNorm), "eps", lambda _: eps))
    for what, activation in ACTIVATIONS.items():
        yield Cause("activation", f"computes {what}, not GELU's tanh approximation", computing(a, MLP, mlp(activation)))
    for what, attend in ATTENDS.items():
        yield Cause("attention", what, lambda attend=attend: having(parts(a, Attention), "attend", lambda _: attend))
    yield Cause(
        "split", "splits qkv as (q|k|v, head, dim), not (head, q|k|v, dim)", computing(a, Attention, split_by_part)
    )
    if (a.head is None) != (b.head is None):
        what = "has an output layer of its own" if a.head is None else "ties the output layer to the token embedding"
        yield Cause("head", f"{what}; the other does not", lambda: having([a], "head", lambda _: b.head))


def last_resort(a: GPT, b: GPT) -> Iterator[Cause]:
    """What is left to say where no other cause explains the difference."""
    if seen := other_weights(a, b):
        yield of_weights(a, *seen)


def of_weights(a: GPT, name: str, explanation: str, tensors: dict[str, Tensor]) -> Cause:
    return Cause(name, explanation, lambda: swapped(a, tensors))


ACTIVATIONS: dict[str, Callable[[Tensor], Tensor]] = {
    "the exact GELU (erf)": F.gelu,
    "the sigmoid approximation of GELU": lambda x: x * torch.sigmoid(1.702 * x),
    "ReLU": F.relu,
    "SiLU": F.silu,
}


def unscaled(q: Tensor, k: Tensor, v: Tensor, visible: Tensor | None, dropout: float) -> Tensor:
    return F.scaled_dot_product_attention(q, k, v, attn_mask=visible, is_causal=visible is None, scale=1.0)


def unmasked(q: Tensor, k: Tensor, v: Tensor, visible: Tensor | None, dropout: float) -> Tensor:
    return F.scaled_dot_product_attention(q, k, v)


ATTENDS: dict[str, Attend] = {
    "does not divide attention scores by the square root of head_dim": unscaled,
    "lets tokens see those after them (no causal mask)": unmasked,
}


def mlp(activation: Callable[[Tensor], Tensor]) -> Callable[[MLP, Tensor], Tensor]:
    """MLP.forward with another activation."""
    return lambda self, x: self.down(activation(self.up(x)))


def split_by_part(self: Attention, x: Tensor, cache: object) -> Tensor:
    """Attention.forward with the other split."""
    B, T, _ = x.shape
    q, k, v = self.qkv(x).view(B, T, 3, -1, self.head_dim).permute(2, 0, 3, 1, 4)
    return self.out(self.attend(q, k, v, None, 0.0).transpose(1, 2).reshape(B, T, -1))


def computing(
    model: GPT, kind: type[nn.Module], forward: Callable[..., Tensor]
) -> Callable[[], AbstractContextManager[None]]:
    """A context in which every part of this kind computes ``forward``."""
    return lambda: having(parts(model, kind), "forward", lambda part: MethodType(forward, part))


def parts(model: GPT, kind: type[nn.Module]) -> list[nn.Module]:
    return [module for module in model.modules() if isinstance(module, kind)]


@contextmanager
def having(modules: Iterable[nn.Module], name: str, value: Callable[[nn.Module], Any]) -> Iterator[None]:
    """Inside, an attribute of these modules has another value."""
    before = [(module, name in vars(module), getattr(module, name)) for module in modules]
    for module, _, _ in before:
        setattr(module, name, value(module))
    try:
        yield
    finally:
        for module, is_own, old in before:
            if is_own or name != "forward":
                setattr(module, name, old)
            else:
                delattr(module, name)
