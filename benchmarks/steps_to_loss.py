"""How many steps glassgpt's recipe takes to the held-out loss at which nanoGPT's model and recipe end.

    python benchmarks/steps_to_loss.py path/to/nanoGPT/model.py path/to/tokens
    python benchmarks/steps_to_loss.py path/to/nanoGPT/model.py path/to/tokens --only glassgpt --target 4.055
    python benchmarks/steps_to_loss.py path/to/nanoGPT/model.py path/to/tokens --small --peak 2e-3

Both see the same windows in the same order, 131,072 tokens a step, and are measured on the same held-out windows.
nanoGPT: AdamW, 6e-4 after 10 % warm-up, cosine to a tenth, decay 0.1, clipping at 1. glassgpt: Muon for the matrices in
the blocks and AdamW for the rest, projections that start at zero, and a rate that falls over the last 60 % of its
steps. The directory holds tokens as ``glassgpt prepare`` writes them, or train and val .bin files. ``--small`` compares
the two recipes at a size that a CPU finishes within the hour; both rates were chosen for 124M, so try others, too.
"""

from __future__ import annotations

import argparse
import math
import tempfile
from collections.abc import Callable
from pathlib import Path

import torch
from _gpu import arguments, report, seconds
from _nanogpt import build
from torch import nn

from glassgpt.data.batches import Batches, fixed_batches
from glassgpt.data.shards import Shards
from glassgpt.model.config import ModelConfig
from glassgpt.training.config import (
    CheckpointConfig,
    DataConfig,
    EvaluationConfig,
    ModelShape,
    OptimizerConfig,
    RunConfig,
    ScheduleConfig,
)
from glassgpt.training.hooks import Evaluation, Event
from glassgpt.training.loop import train
from glassgpt.training.run import Run
from glassgpt.training.start import tokenizer_of

Curve = dict[int, float]  # step -> held-out loss in nats
SMALL = {"context_length": 128, "emb_dim": 256, "num_heads": 4, "num_layers": 6}
TINY = {"context_length": 64, "emb_dim": 64, "num_heads": 2, "num_layers": 2}
DECAY, BETAS = 0.1, (0.9, 0.95)  # nanoGPT's
SCHEDULE = ScheduleConfig(name="wsd", warmup=0.02, cooldown=0.6, floor=0.0)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("nanogpt", type=Path, help="nanoGPT's model.py")
    parser.add_argument("tokens", type=Path)
    parser.add_argument("--size", default="gpt2")
    parser.add_argument("--small", action="store_true", help="6 layers, 256 wide, 8,192 tokens a step, on the CPU")
    parser.add_argument("--steps", type=int, default=900, help="of nanoGPT")
    parser.add_argument("--peak", type=float, default=6e-4, help="nanoGPT's highest learning rate")
    parser.add_argument("--our-steps", type=int, default=600)
    parser.add_argument("--our-peak", type=float, default=2e-3, help="glassgpt's highest learning rate")
    parser.add_argument("--step-tokens", type=int, default=131_072)
    parser.add_argument("--rows", type=int, default=64, help="windows computed at once")
    parser.add_argument("--every", type=int, default=25, help="steps between measurements of glassgpt")
    parser.add_argument("--windows", type=int, default=512, help="held-out windows")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--only", choices=["nanoGPT", "glassgpt"])
    parser.add_argument("--target", type=float, help="nanoGPT's last loss, where it was measured before")
    parser.add_argument("--no-compile", action="store_true")
    args = arguments(parser)
    model = ModelConfig.named(args.size)
    if args.tiny:
        model = model.model_copy(update=TINY)
        args.step_tokens, args.rows, args.windows = 1024, 8, 32
    elif args.small:
        model = model.model_copy(update=SMALL)
        args.step_tokens, args.device, args.no_compile = 8192, "cpu", True
    with report(args) as result:
        curves: dict[str, Curve] = {}
        for name, learn in {"nanoGPT": nanogpt, "glassgpt": ours}.items():
            if args.only in (None, name):
                result[f"{name}_s"] = seconds(lambda learn=learn, name=name: curves.update({name: learn(model, args)}),
                                              args.device)  # fmt: skip
        result["held_out"] = curves
        show(curves, args, result)


def show(curves: dict[str, Curve], args: argparse.Namespace, result: dict) -> None:
    print(f"\n| step | {' | '.join(curves)} |\n|---|{'---|' * len(curves)}")
    for step in sorted(set().union(*curves.values())):
        print(f"| {step} | {' | '.join(f'{curve[step]:.3f}' if step in curve else '' for curve in curves.values())} |")
    for name in curves:
        print(f"{name}: {result[f'{name}_s']:.0f} s, measurements and compilation included")
    target = args.target or list(curves["nanoGPT"].values())[-1]
    result["target"] = target
    result["passed_at"] = next((step for step, loss in curves.get("glassgpt", {}).items() if loss <= target), None)
    if result["passed_at"]:
        ratio = args.steps / result["passed_at"]
        print(f"glassgpt passes {target:.3f} at step {result['passed_at']}: {ratio:.2f} times fewer steps")
    elif "glassgpt" in curves:
        print(f"glassgpt does not reach {target:.3f}")


def nanogpt(shape: ModelConfig, args: argparse.Namespace) -> Curve:
    """nanoGPT's model through the steps of its train.py, on our batches."""
    torch.manual_seed(args.seed)
    kind, T = torch.device(args.device).type, shape.context_length
    vocab_size = tokenizer_of(args.tokens, DataConfig(sources=(str(args.tokens),))).vocab_size
    shape = shape.model_copy(update={"vocab_size": vocab_size})
    model = build(args.nanogpt, shape, vocab_multiple=64).to(args.device)
    optimizer = model.configure_optimizers(DECAY, args.peak, BETAS, kind)
    compiled = model if args.no_compile else torch.compile(model)
    batches = Batches(Shards.open(args.tokens, "train"), T, args.step_tokens // T, args.seed)
    curve: Curve = {}
    for step in range(args.steps):
        for group in optimizer.param_groups:
            group["lr"] = args.peak * cosine(step, args.steps)
        parts = list(zip(*(part.split(args.rows) for part in batches.at(step)), strict=True))
        for tokens, targets in parts:
            with torch.autocast(kind, torch.bfloat16):
                _, loss = compiled(tokens.to(args.device), targets.to(args.device))
            (loss / len(parts)).backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        if (step + 1) % (4 * args.every) == 0 or step + 1 == args.steps:  # its end is what counts
            curve[step + 1] = held_out(lambda x, y: model(x, y)[1], T, args)
    return curve


def cosine(step: int, steps: int) -> float:
    """The learning rate of nanoGPT's train.py, as a share of its highest."""
    warmup = steps // 10
    if step < warmup:
        return (step + 1) / (warmup + 1)
    share = (step - warmup) / (steps - warmup)
    return 0.1 + 0.45 * (1 + math.cos(math.pi * share))


@torch.no_grad()
def held_out(loss_of: Callable, T: int, args: argparse.Namespace) -> float:
    total, count = 0.0, 0
    for tokens, targets in fixed_batches(Shards.open(args.tokens, "val"), T, args.rows // 2, args.windows):
        with torch.autocast(torch.device(args.device).type, torch.bfloat16):
            loss = loss_of(tokens.to(args.device), targets.to(args.device))
        total, count = total + loss.item() * len(tokens), count + len(tokens)
    return total / count


def ours(shape: ModelConfig, args: argparse.Namespace) -> Curve:
    """A run of the training loop."""
    data = DataConfig(sources=(str(args.tokens),))
    config = RunConfig(
        seed=args.seed,
        steps=args.our_steps,
        batch_size=args.step_tokens // shape.context_length,
        micro_batch=args.rows,
        device=args.device,
        precision="bfloat16",
        compile=not args.no_compile,
        data=data,
        model=ModelShape(
            zero_residual=True,
            **shape.model_dump(include={"context_length", "emb_dim", "num_heads", "num_layers"}),
        ),
        optimizer=OptimizerConfig(name="muon", lr=args.our_peak),
        schedule=SCHEDULE,
        evaluation=EvaluationConfig(every=args.every, windows=args.windows),
        checkpoint=CheckpointConfig(every=args.our_steps),
    )
    curve: Curve = {}

    def note(event: Event) -> None:
        if isinstance(event, Evaluation):
            curve[event.step] = event.val_loss

    with tempfile.TemporaryDirectory() as folder:
        run = Run(config, tokenizer_of(args.tokens, data), args.tokens)
        print(run)
        train(run, Path(folder), hooks=[note])
    return curve


if __name__ == "__main__":
    main()
