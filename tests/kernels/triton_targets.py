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

from glassgpt.kernels import cross_entropy, decode_attention, few_rows_gpu
from glassgpt.model.cache import Cache
from glassgpt.model.config import ModelConfig
from glassgpt.model.static_cache import StaticCache

TYPES = {torch.bfloat16: "*bf16", torch.float32: "*fp32", torch.int64: "*i64", torch.float64: "*fp64"}
SHAPES = [(768, 2304), (768, 768), (768, 3072), (3072, 768)]
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


def launch_all() -> None:
    q, k, v = (torch.zeros(2, 3, T, 64, dtype=torch.bfloat16) for T in (1, 256, 256))
    rows, slots = torch.zeros(2, dtype=torch.int64), torch.zeros(2, 1, dtype=torch.int64)
    decode_attention.attend_live(q, k, v, rows, slots, 4)
    decode_attention.store(k, v, q, q, rows, slots)

    cache = StaticCache(Cache(ModelConfig(num_layers=1), 2, 64, dtype=torch.bfloat16), 2, decode_attention.LiveLayer)
    cache.begin(1)
    x, norm = torch.zeros(2, 768), nn.LayerNorm(768, dtype=torch.bfloat16)
    qkv, out, up, down = (nn.Linear(*shape, dtype=torch.bfloat16) for shape in SHAPES)
    q = few_rows_gpu.norm_qkv(x, norm, qkv, cache.layers[0], 64)
    parts = decode_attention.attend_parts(q, cache.layers[0].k, cache.layers[0].v, cache.rows, cache.slots, 8)
    few_rows_gpu.add_linear_of_parts(x, parts, out)
    few_rows_gpu.norm_linear(x, norm, up.weight, up.bias, gelu=True)
    few_rows_gpu.norm_linear(x, norm, qkv.weight, None)
    few_rows_gpu.add_linear(x, torch.zeros(2, 3072), down)

    cross_entropy.cross_entropy_(torch.zeros(2, 50304, dtype=torch.bfloat16), slots[:, 0], 1.0, 50257)


if __name__ == "__main__":
    runtime.JITFunction.run = compile_only
    launch_all()
    print(*sorted(compiled))
