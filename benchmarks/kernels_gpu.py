"""Each Triton kernel of a decoding step and of the loss alone: microseconds, and the share of the copy rate it reaches.

    python benchmarks/kernels_gpu.py [--size gpt2] [--rows 1] [--length 512]

Launches are recorded in one CUDA graph, as they run in generation, over as many copies of weights and cache as do not
fit the GPU's cache. Bytes are what a kernel has to read and write once.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable

import torch
from _gpu import arguments, report, seconds
from torch import nn

from glassgpt.generation.steps import as_it_is, cuda_graph
from glassgpt.kernels.cross_entropy import cross_entropy_
from glassgpt.kernels.decode_attention import LiveLayer, attend_live, attend_parts, parts
from glassgpt.kernels.few_rows_gpu import add_linear, add_linear_of_parts, norm_linear, norm_qkv
from glassgpt.kernels.likeliest import likeliest
from glassgpt.model.cache import Cache
from glassgpt.model.config import ModelConfig
from glassgpt.model.gpt import Block
from glassgpt.model.static_cache import StaticCache

BEYOND_CACHE = 200e6  # bytes: an H100 keeps 50 MB
REPEATS = 20

Kernel = tuple[Callable[[int], object], float]  # a launch on the n-th copy, and its bytes


@torch.inference_mode()
def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--size", default="gpt2")
    parser.add_argument("--rows", type=int, default=1)
    parser.add_argument("--length", type=int, default=512, help="tokens that a cache row holds")
    parser.add_argument("--positions", type=int, default=8192, help="of the loss")
    args = arguments(parser)
    config = ModelConfig.named(args.size)
    if args.tiny:
        config = ModelConfig(vocab_size=300, context_length=64, emb_dim=32, num_heads=2, num_layers=1)
        args.length, args.positions = 20, 4
    with report(args) as result:
        print(f"\n| kernel, {args.size}, {args.rows} rows of {args.length} | us | MB | of the copy rate |")
        print("|---|---|---|---|")
        for name, (launch, size) in kernels(config, args).items():
            copies = 1 if args.tiny else num_copies(config, args)
            taken = time_of(launch, copies, args.device)
            share = size / taken / 1e12 / result["copy_tb_s"]
            print(f"| {name} | {taken * 1e6:.2f} | {size / 1e6:.2f} | {share:.0%} |")
            result[name] = {"us": taken * 1e6, "bytes": size}


def num_copies(config: ModelConfig, args: argparse.Namespace) -> int:
    """How many blocks and cache layers exceed the GPU's cache."""
    return max(1, round(BEYOND_CACHE / (2 * config.emb_dim**2)))


def time_of(launch: Callable[[int], object], copies: int, device: str) -> float:
    def step() -> None:
        for copy in range(copies):
            launch(copy)

    run = (as_it_is if device == "cpu" else cuda_graph)(step)
    repeats = 1 if device == "cpu" else REPEATS
    return min(seconds(run, device) for _ in range(repeats)) / copies


def kernels(config: ModelConfig, args: argparse.Namespace) -> dict[str, Kernel]:
    B, C, V, D, dtype = args.rows, config.emb_dim, config.vocab_size, config.head_dim, torch.bfloat16
    copies = 1 if args.tiny else num_copies(config, args)
    few = min(copies, 48)  # of the larger things: they exceed the cache sooner
    with torch.device(args.device):
        blocks = [Block(config).to(dtype) for _ in range(few)]
        outs = [nn.Linear(C, C, dtype=dtype) for _ in range(copies)]
        heads = [torch.randn(V, C, dtype=dtype) for _ in range(3)]
        x, h, norm = torch.randn(B, C), torch.randn(B, 4 * C), nn.LayerNorm(C, dtype=dtype)
        logits = torch.randn(B, V)
        training_logits = torch.randn(args.positions, -(-V // 128) * 128, dtype=dtype)
        targets = torch.randint(V, (args.positions,))
    shape = config.model_copy(update={"num_layers": few})
    cache = StaticCache(Cache(shape, B, config.context_length, args.device, dtype), B, LiveLayer)
    cache.load(list(range(B)), [args.length - 1] * B)
    cache.begin(1)
    layers = [layer for layer in cache.layers if isinstance(layer, LiveLayer)]
    q = norm_qkv(x, norm, blocks[0].attention.qkv, layers[0], D)
    P = max(1, parts(B * config.num_heads, cache.capacity) // 2)
    places = cache.rows, cache.slots
    some = attend_parts(q, layers[0].k, layers[0].v, *places, P)
    keys_and_values = 2 * 2 * B * args.length * C

    def qkv(n: int) -> object:
        return norm_qkv(x, norm, blocks[n % few].attention.qkv, layers[n % few], D)

    def attention(n: int) -> object:
        return attend_parts(q, layers[n % few].k, layers[n % few].v, *places, P)

    def merged(n: int) -> object:
        return attend_live(q, layers[n % few].k, layers[n % few].v, *places)

    def up(n: int) -> object:
        layer = blocks[n % few].mlp.up
        return norm_linear(x, norm, layer.weight, layer.bias, gelu=True)

    return {
        "norm, query, key, value": (qkv, 2 * 3 * C * C),
        "attention in parts": (attention, keys_and_values),
        "attention, merged": (merged, keys_and_values),
        "merge, project, add": (lambda n: add_linear_of_parts(x, some, outs[n]), 2 * C * C),
        "norm, widen, GELU": (up, 2 * 4 * C * C),
        "narrow, add": (lambda n: add_linear(x, h, blocks[n % few].mlp.down), 2 * 4 * C * C),
        "norm, output layer": (lambda n: norm_linear(x, norm, heads[n % 3], None), 2 * V * C),
        "likeliest": (lambda n: likeliest(logits), 4 * B * V),
        "cross-entropy": (
            lambda n: cross_entropy_(training_logits, targets, 1.0, V),
            2 * training_logits.numel() * training_logits.itemsize,
        ),
    }


if __name__ == "__main__":
    main()
