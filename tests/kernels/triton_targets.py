"""Compiles every Triton kernel for an H100, which needs no GPU: a program of its own, as Triton must not interpret.

Launches are those of the library on small tensors; instead of running, each is compiled to machine code.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from triton import compile, runtime
from triton.backends.compiler import GPUTarget
from triton.compiler import ASTSource

from glassgpt.kernels import cross_entropy, decode_attention, few_rows_gpu, likeliest
from glassgpt.model.cache import Cache
from glassgpt.model.config import ModelConfig
from glassgpt.model.static_cache import StaticCache

TYPES = {torch.bfloat16: "*bf16", torch.float32: "*fp32", torch.int64: "*i64", torch.float64: "*fp64"}
compiled: set[str] = set()


def compile_only(self: Any, *args: Any, grid: Any, warmup: bool, **options: Any) -> None:
    """Takes the place of a launch."""
    signature: dict[str, str] = {}
    constants: dict[str, Any] = {}
    for parameter, value in zip(self.params, args, strict=True):
        if parameter.is_constexpr or value is None:
            signature[parameter.name], constants[parameter.name] = "constexpr", value
        elif isinstance(value, Tensor):
            signature[parameter.name] = TYPES[value.dtype]
        else:
            signature[parameter.name] = "fp32" if isinstance(value, float) else "i32"
    kernel = compile(ASTSource(self, signature, constants), target=GPUTarget("cuda", 90, 32), options=options)
    assert kernel.asm["cubin"]
    compiled.add(self.__name__)


def launch_attention(dtype: torch.dtype, head_dim: int, num_parts: int) -> None:
    q, k, v = (torch.zeros(2, 3, T, head_dim, dtype=dtype) for T in (1, 256, 256))
    rows, slots = torch.zeros(2, dtype=torch.int64), torch.zeros(2, 1, dtype=torch.int64)
    decode_attention.attend_live(q, k, v, rows, slots, num_parts)
    decode_attention.store(k, v, q, q, rows, slots)


def launch_layer(dtype: torch.dtype, C: int, num_heads: int, num_parts: int) -> None:
    config = ModelConfig(num_layers=1, emb_dim=C, num_heads=num_heads)
    cache = StaticCache(Cache(config, 2, 64, dtype=dtype), 2, decode_attention.LiveLayer)
    layer = cache.layers[0]
    weight, norm = torch.zeros(50257, C, dtype=dtype), nn.LayerNorm(C, dtype=dtype)
    slots = cache.begin(1)
    x = few_rows_gpu.embed(slots, slots, weight, weight)
    qkv, out, up, down = (nn.Linear(n * C, m * C, dtype=dtype) for n, m in [(1, 3), (1, 1), (1, 4), (4, 1)])
    q = few_rows_gpu.norm_qkv(x, norm, qkv, layer, config.head_dim)
    parts = decode_attention.attend_parts(q, layer.k, layer.v, cache.rows, cache.slots, num_parts)
    few_rows_gpu.add_linear_of_parts(x, parts, out)
    few_rows_gpu.norm_linear(x, norm, up.weight, up.bias, gelu=True)
    few_rows_gpu.norm_linear(x, norm, weight, None)
    few_rows_gpu.add_linear(x, torch.zeros(2, 4 * C), down)


def launch_all() -> None:
    launch_attention(torch.bfloat16, 64, 4)
    launch_attention(torch.float32, 80, 1)
    launch_layer(torch.bfloat16, 768, 12, 8)
    launch_layer(torch.bfloat16, 1600, 25, 1)
    likeliest.likeliest(torch.zeros(2, 50257))
    cross_entropy.cross_entropy_(
        torch.zeros(2, 50304, dtype=torch.bfloat16), torch.zeros(2, dtype=torch.int64), 1.0, 50257
    )


if __name__ == "__main__":
    runtime.JITFunction.run = compile_only
    launch_all()
    print(*sorted(compiled))
