"""A prompt through all blocks of a model with bfloat16 matrices, products in bfloat16: by the library or by oneDNN.

The residual stream, norms, the cache and sums stay float32. The twin is ``GPT.hidden`` of the same model, which rounds
inputs and outputs of its products to bfloat16 as well, but converts between each two operations: that takes longer than
the products.

B sequences, T new tokens, C emb_dim, D head_dim, I in, O out
"""

from __future__ import annotations

import ctypes
import functools

import torch
from torch import Tensor, nn

from glassgpt.kernels import training
from glassgpt.kernels.compiled import load
from glassgpt.model.attention import attend
from glassgpt.model.cache import Cache
from glassgpt.model.gpt import GPT, Block


def is_available() -> bool:
    """Whether oneDNN and the kernels are there, and this processor computes in bfloat16 faster than by converting."""
    return (
        torch.backends.mkldnn.is_available()
        and torch.ops.mkldnn._is_mkldnn_bf16_supported()
        and training.library() is not None
    )


@functools.cache
def library(instructions: str | None = None) -> ctypes.CDLL | None:
    """``native/prompt.cpp``, or None; arguments as in ``compiled.load``. By default None, too, on a processor without
    instructions for products in bfloat16, or with those for whole tiles (AMX), which oneDNN has."""
    has_avx512 = torch.backends.cpu.get_cpu_capability() == "AVX512"
    is_made_for_it = has_avx512 and torch.cpu._is_avx512_bf16_supported() and not torch.cpu._is_amx_tile_supported()
    if instructions is None and not is_made_for_it:
        return None
    if (lib := load("prompt", instructions or "AVX512_BF16")) is None:
        return None
    pointer, count = ctypes.c_void_p, ctypes.c_int64
    lib.glassgpt_prompt.argtypes = [pointer, count, pointer, count, count, pointer, pointer, pointer, ctypes.c_int]
    return lib


def fits(block: Block) -> bool:
    """Whether ``native/prompt.cpp`` computes blocks of this shape: it takes outputs by eights."""
    return block.attention.head_dim % 8 == 0 and block.mlp.up.out_features % 8 == 0


def read_prompt(model: GPT, tokens: Tensor, cache: Cache) -> Tensor:
    """``model.hidden(tokens, cache)`` by oneDNN: the last hidden states (B, T, C) of tokens (B, T)."""
    B, T = tokens.shape
    x = model.token_embedding(tokens) + model.position_embedding(cache.begin(T))  # (B, T, C)
    for block, layer in zip(model.blocks, cache.layers, strict=True):
        assert isinstance(block, Block)
        attention, mlp = block.attention, block.mlp
        h = block.attention_norm(x).bfloat16()
        qkv = product(h, attention.qkv).float().view(B, T, -1, 3, attention.head_dim)
        q, k, v = qkv.permute(3, 0, 2, 1, 4)  # each (B, H, T, D)
        keys, values, visible = layer.append(k, v)
        if keys.shape[2] == T:  # nothing before this prompt
            y = training.attend(q, k, v, None, 0.0).bfloat16()
        else:
            y = attend(q.bfloat16(), keys.bfloat16(), values.bfloat16(), visible, 0.0)
        x += product(y.transpose(1, 2).reshape(B, T, -1), attention.out)
        h = block.mlp_norm(x).bfloat16()
        x += product(product(h, mlp.up, "gelu"), mlp.down)
    cache.end(T)
    return model.final_norm(x)


def product(x: Tensor, linear: nn.Linear, activation: str = "none") -> Tensor:
    """x (..., I) through a linear layer and an activation: (..., O), all in bfloat16 but the float32 bias."""
    return torch.ops.mkldnn._linear_pointwise(x, linear.weight, linear.bias, activation, [], "tanh")
