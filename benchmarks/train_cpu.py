"""Training on the CPU against nanoGPT: its own Shakespeare recipe for CPUs in both precisions, and GPT-2 small
in bfloat16.

    python benchmarks/train_cpu.py path/to/nanoGPT/model.py

All sides take whole training steps on the same random tokens (forward, backward, clipping, AdamW), each in a process
of its own, blocks of one after blocks of the other while the others wait. nanoGPT runs as its train.py runs it: eager,
autocast for bfloat16, its own optimizer; a second time with the memory setting of `glassgpt train`, which is a large
part of the difference on virtual machines. glassgpt runs the update of its training loop, metrics included.
"""

from __future__ import annotations

import argparse
import multiprocessing
import tempfile
import time
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from _nanogpt import build
from _report import print_machine, print_table

from glassgpt.data.shards import write
from glassgpt.kernels.memory import keep_freed_memory
from glassgpt.model.config import ModelConfig
from glassgpt.tokenizer.tokenizer import Tokenizer
from glassgpt.training.checkpoint import Checkpoints
from glassgpt.training.config import ModelShape, RunConfig
from glassgpt.training.interrupt import Interrupt
from glassgpt.training.loop import Training
from glassgpt.training.metrics import MetricsLog
from glassgpt.training.run import Run
from glassgpt.training.state import Progress

Step = Callable[[], None]


@dataclass(frozen=True)
class Recipe:
    """What both sides train; ``steps`` are those of one block."""

    vocab_size: int
    layers: int
    heads: int
    width: int
    T: int
    B: int
    precision: Literal["float32", "bfloat16"]
    steps: int


RECIPES = {
    "small": Recipe(vocab_size=65, layers=4, heads=4, width=128, T=64, B=12, precision="float32", steps=40),
    "small bf16": Recipe(vocab_size=65, layers=4, heads=4, width=128, T=64, B=12, precision="bfloat16", steps=40),
    "124M": Recipe(vocab_size=50257, layers=12, heads=12, width=768, T=512, B=2, precision="bfloat16", steps=1),
}
SIDES = ("nanoGPT", "nanoGPT, memory kept", "glassgpt")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("nanogpt", type=Path, help="nanoGPT's model.py")
    parser.add_argument("--blocks", type=int, default=7, help="blocks of each side; their median counts")
    parser.add_argument("--only", choices=list(RECIPES))
    arguments = parser.parse_args()
    print_machine()
    for name in [arguments.only] if arguments.only else RECIPES:
        recipe = RECIPES[name]
        rates = measure(arguments.nanogpt, recipe, arguments.blocks)
        print_table(f"{name}: B{recipe.B} x T{recipe.T}, {recipe.precision}", "tokens/s", rates)


def measure(peer: Path, recipe: Recipe, blocks: int) -> dict[str, list[float]]:
    """Tokens a second of every block of each side, the sides taking turns."""
    spawn = multiprocessing.get_context("spawn")
    ends = {}
    for side in SIDES:
        ends[side], theirs = spawn.Pipe()
        spawn.Process(target=work, args=(theirs, side, peer, recipe), daemon=True).start()
    for end in ends.values():
        end.recv()  # ready
    rates: dict[str, list[float]] = {side: [] for side in SIDES}
    for _ in range(blocks):
        for side, end in ends.items():
            end.send(True)
            rates[side].append(recipe.steps * recipe.B * recipe.T / end.recv())
    for end in ends.values():
        end.send(False)
    return rates


def work(end: Connection, side: str, peer: Path, recipe: Recipe) -> None:
    """A side's process: warms up, then answers every True with the seconds of a block."""
    if side != "nanoGPT":
        keep_freed_memory()
    with tempfile.TemporaryDirectory() as directory:
        step = ours(Path(directory), recipe) if side == "glassgpt" else nanogpt(peer, recipe)
        for _ in range(3):
            step()
        end.send(True)
        while end.recv():
            start = time.perf_counter()
            for _ in range(recipe.steps):
                step()
            end.send(time.perf_counter() - start)


def nanogpt(path: Path, recipe: Recipe) -> Step:
    """One step as in nanoGPT's train.py."""
    config = ModelConfig(
        vocab_size=recipe.vocab_size, context_length=recipe.T, emb_dim=recipe.width, num_heads=recipe.heads,
        num_layers=recipe.layers,
    )  # fmt: skip
    model = build(path, config)
    optimizer = model.configure_optimizers(0.1, 1e-3, (0.9, 0.95), "cpu")
    generator = torch.Generator().manual_seed(0)
    tokens = torch.randint(recipe.vocab_size, (recipe.B, recipe.T + 1), generator=generator)
    context = torch.autocast("cpu", torch.bfloat16) if recipe.precision == "bfloat16" else nullcontext()

    def step() -> None:
        with context:
            _, loss = model(tokens[:, :-1], tokens[:, 1:].contiguous())
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        loss.item()

    return step


def ours(directory: Path, recipe: Recipe) -> Step:
    """One update of the training loop, biases included."""
    vocab_size, T = recipe.vocab_size, recipe.T
    ids = np.random.default_rng(0).integers(0, vocab_size - 1, (recipe.B + 1) * T + 1).tolist()
    tokenizer = Tokenizer([index.to_bytes(4) for index in range(vocab_size - 1)])
    write(directory, {"train": [ids], "val": [ids]}, vocab_size, tokenizer.eot, tokenizer.sha256)
    config = RunConfig(
        steps=10**6,
        batch_size=recipe.B,
        precision=recipe.precision,
        model=ModelShape(context_length=T, emb_dim=recipe.width, num_heads=recipe.heads, num_layers=recipe.layers),
    )
    run = Run(config, tokenizer, directory)
    checkpoints, metrics = Checkpoints(directory / "checkpoints"), MetricsLog(directory)
    training = Training(run, Progress(), Interrupt(), checkpoints, metrics, hooks=[])
    return lambda: training.update(run.batches.at(training.progress.step))


if __name__ == "__main__":
    main()
