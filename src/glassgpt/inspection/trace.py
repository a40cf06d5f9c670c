"""What a model computes on the way from tokens to logits, place by place, recorded from outside by hooks.

B batch, T tokens, H heads, D head_dim, C emb_dim, V vocabulary
"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import ExitStack
from functools import partial

import torch
from torch import Tensor, nn

from glassgpt.model.gpt import GPT
from glassgpt.weights.onnx import Session

Trace = dict[str, Tensor]  # place -> what is computed there, in the order in which it is

EMBEDDING, LOGITS = "embedding", "logits"
# Modules whose output another place has: the last ones of attention and mlp, the output layer, lists, dropout at rest.
REDUNDANT = (".attention.out", ".mlp.down", "head", "blocks", ".dropout")


@torch.no_grad()
def trace(model: GPT, tokens: Tensor) -> Trace:
    """The output of every part of the model for ``tokens`` (B, T), and the keys and values (B, H, T, D) of each block.

    Places are called as the modules are; ``embedding`` is the sum of both embeddings, and ``logits`` comes last.
    """
    found: Trace = {}

    def keep(place: str, module: nn.Module, inputs: object, output: Tensor) -> None:
        found[place] = output
        if place.endswith(".qkv"):
            block = place.removesuffix(".attention.qkv")
            parts = output.unflatten(-1, (model.config.num_heads, 3, model.config.head_dim)).permute(3, 0, 2, 1, 4)
            found[f"{block}.keys"], found[f"{block}.values"] = parts[1], parts[2]

    with ExitStack() as hooks:
        for name, module in model.named_modules():
            place = EMBEDDING if name == "dropout" else name
            if name and not name.endswith(REDUNDANT):
                hooks.callback(module.register_forward_hook(partial(keep, place)).remove)
        found[LOGITS] = model(tokens)
    return found


def trace_session(session: Session, tokens: Tensor) -> Trace:
    """The same of an exported model, as far as it shows: keys and values of each block, logits."""
    logits, k, v = session(tokens)
    found: Trace = {}
    for layer in range(len(k)):
        found |= {f"blocks.{layer}.keys": k[layer], f"blocks.{layer}.values": v[layer]}
    return found | {LOGITS: logits}


def differences(a: Mapping[str, Tensor], b: Mapping[str, Tensor]) -> dict[str, float]:
    """How far two traces are off at each place that both have: the length of the difference as a share of a's vector,
    of all vectors (one a token, or one a token and head) the farthest. Logits are compared where both have them."""
    return {place: difference(a[place], b[place]) for place in a if place in b}


def difference(a: Tensor, b: Tensor) -> float:
    width = min(a.shape[-1], b.shape[-1])
    a, b = a[..., :width].float(), b[..., :width].float()
    share = (a - b).norm(dim=-1) / a.norm(dim=-1).clamp_min(torch.finfo(a.dtype).tiny)
    return float(share.nan_to_num(torch.inf).max())
