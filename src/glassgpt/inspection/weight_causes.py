"""How the weights of one model became those of another: rounded, turned, reordered, lost. Runs no model.

A rewriting is looked for tensor by tensor and taken where it brings a's tensor close to b's.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from itertools import permutations

import torch
from torch import Tensor

from glassgpt.model.config import ModelConfig
from glassgpt.model.gpt import GPT
from glassgpt.weights.names import by_head, by_part

CLOSE = 0.2  # equal but for rounding: off by no more than this share of the tensor's length (four bits: about 0.1)

Seen = tuple[str, str, dict[str, Tensor]]  # name and explanation of a cause, the tensors of b that show it


def rewritings(a: GPT, b: GPT) -> Iterator[Seen]:
    """The rewritings that are seen."""
    both = pairs(a, b)
    if rounded := {name: (mine, other) for name, (mine, other) in both.items() if 0 < distance(mine, other) < CLOSE}:
        yield "dtype", rounding(rounded), others(rounded)
    far = {name: (mine, other) for name, (mine, other) in both.items() if not distance(mine, other) < CLOSE}
    for name, explanation, ending, rewrite in REWRITINGS:
        found = {
            tensor: (mine, other)
            for tensor, (mine, other) in far.items()
            if re.search(ending, tensor) and distance(rewrite(tensor, mine, a.config), other) < CLOSE
        }
        if found:
            yield name, explanation.format(some(found, a.config)), others(found)


def other_weights(a: GPT, b: GPT) -> Seen | None:
    """What is left to say where no rewriting explains the difference."""
    far = {name: (mine, other) for name, (mine, other) in pairs(a, b).items() if not distance(mine, other) < CLOSE}
    if not far:
        return None
    return (
        "weights",
        f"has other weights in {some(far, a.config)}: damaged, trained further, or another model",
        others(far),
    )


@contextmanager
def swapped(model: GPT, tensors: Mapping[str, Tensor]) -> Iterator[None]:
    """Inside, the model has these tensors in place of its own."""
    parameters = dict(model.named_parameters())
    before = {name: parameters[name].data for name in tensors}
    for name, tensor in tensors.items():
        parameters[name].data = tensor
    try:
        yield
    finally:
        for name, tensor in before.items():
            parameters[name].data = tensor


def pairs(a: GPT, b: GPT) -> dict[str, tuple[Tensor, Tensor]]:
    """Each tensor of a and the same of b; rows that only one vocabulary or context has count as equal.

    A model without query/key/value bias computes as one where it is zero.
    """
    theirs, both = b.state_dict(), {}
    for name, mine in a.state_dict().items():
        if name in theirs or name.endswith("qkv.bias"):
            both[name] = (mine, fitted(theirs.get(name, torch.zeros_like(mine)), mine))
    return both


def fitted(other: Tensor, mine: Tensor) -> Tensor:
    """``other`` with as many rows as ``mine``; those it lacks are ``mine``'s."""
    if len(other) >= len(mine):
        return other[: len(mine)]
    return torch.cat([other, mine[len(other) :]])


def others(found: Mapping[str, tuple[Tensor, Tensor]]) -> dict[str, Tensor]:
    return {name: other for name, (_, other) in found.items()}


def distance(mine: Tensor, other: Tensor) -> float:
    """The length of the difference as a share of the length of ``mine``; 0 for equal tensors, also of zeros."""
    return 0.0 if torch.equal(mine, other) else float((mine - other).norm() / mine.norm())


def rounding(found: Mapping[str, tuple[Tensor, Tensor]]) -> str:
    """What kind of rounding leads from one side to the other."""
    for dtype in (torch.float16, torch.bfloat16):
        name = str(dtype).removeprefix("torch.")
        if all(torch.equal(mine.to(dtype).float(), other) for mine, other in found.values()):
            return f"has weights rounded to {name}"
        if all(torch.equal(other.to(dtype).float(), mine) for mine, other in found.values()):
            return f"has weights that the other has rounded to {name}"
    share = max(distance(mine, other) for mine, other in found.values())
    return f"has weights off by up to {share:.2%} of their length: rounded to fewer bits, or trained a little further"


def turned(name: str, tensor: Tensor, config: ModelConfig) -> Tensor:
    """A matrix that was written as Conv1D (in, out) and read as Linear (out, in) without being transposed."""
    if ".qkv." in name:
        return by_head(by_part(tensor, config).T.reshape(tensor.shape), config)
    return tensor.T.reshape(tensor.shape)


def turned_back(name: str, tensor: Tensor, config: ModelConfig) -> Tensor:
    """The inverse of ``turned``."""
    if ".qkv." in name:
        return by_head(by_part(tensor, config).reshape(tensor.shape[::-1]).T, config)
    return tensor.reshape(tensor.shape[::-1]).T


def exchanged(order: tuple[int, ...]) -> Callable[[str, Tensor, ModelConfig], Tensor]:
    """Rows of qkv with query, key and value in another order."""

    def rewrite(name: str, rows: Tensor, config: ModelConfig) -> Tensor:
        return rows.unflatten(0, (config.num_heads, 3, config.head_dim))[:, list(order)].flatten(0, 2)

    return rewrite


MATRIX, QKV = r"^blocks.*(qkv|out|up|down)\.weight$", r"qkv\.(weight|bias)$"

# Name, explanation, which tensors, how they are rewritten.
REWRITINGS: list[tuple[str, str, str, Callable[[str, Tensor, ModelConfig], Tensor]]] = [
    ("conv1d", "has {} not transposed: Conv1D (in, out) taken for Linear (out, in)", MATRIX, turned),
    (
        "conv1d",
        "has {} transposed, the other not: Conv1D (in, out) was taken for Linear (out, in)",
        MATRIX,
        turned_back,
    ),
    (
        "order",
        "has the rows of {} by part (q|k|v, head, dim), not by head",
        QKV,
        lambda _, rows, config: by_part(rows, config),
    ),
    (
        "order",
        "has the rows of {} by head (head, q|k|v, dim), not by part",
        QKV,
        lambda _, rows, config: by_head(rows, config),
    ),
    *(
        ("order", f"has {{}} with the parts in the order {', '.join('qkv'[i] for i in order)}", QKV, exchanged(order))
        for order in list(permutations(range(3)))[1:]
    ),
    (
        "bias",
        "has no query/key/value bias ({} is zero or missing)",
        r"qkv\.bias$",
        lambda _, bias, __: torch.zeros_like(bias),
    ),
]


def some(names: Iterable[str], config: ModelConfig) -> str:
    """Names on one line, all layers as one."""
    kinds: dict[str, list[str]] = {}
    for name in names:
        kinds.setdefault(re.sub(r"^blocks\.\d+", "blocks.*", name), []).append(name)
    shown = []
    for kind, same in kinds.items():
        if len(same) == config.num_layers and "*" in kind:
            shown.append(kind)
        else:
            shown.append(same[0] + (f" and {len(same) - 1} more layers" if len(same) > 1 else ""))
    return ", ".join(shown[:4]) + (" and others" if len(shown) > 4 else "")
