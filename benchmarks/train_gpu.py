"""Training on one GPU against nanoGPT and transformers: whole steps on the same random tokens, blocks taking turns.

    python benchmarks/train_gpu.py path/to/nanoGPT/model.py
    python benchmarks/train_gpu.py path/to/nanoGPT/model.py --size gpt2-xl --tokens 65536 --rows 8 --only glassgpt

Every side computes in bfloat16, is compiled, clips, and takes fused AdamW steps over float32 weights. nanoGPT and
transformers run as nanoGPT's train.py does it, under autocast, each at the best of the micro-batches that fit (64 and
32 windows for GPT-2 small on 80 GB); nanoGPT with its vocabulary of 50,304, transformers with 50,257. glassgpt runs the
update of its training loop, metrics included. MFU counts full attention, against 989 TFLOP/s.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
import transformers
from _gpu import arguments, report, seconds
from _nanogpt import build
from _report import print_table
from torch import Tensor, nn

from glassgpt.data.shards import write
from glassgpt.model.config import ModelConfig
from glassgpt.model.flops import training_flops
from glassgpt.tokenizer.tokenizer import Tokenizer
from glassgpt.training.checkpoint import Checkpoints
from glassgpt.training.config import ModelShape, OptimizerConfig, RunConfig
from glassgpt.training.interrupt import Interrupt
from glassgpt.training.loop import Training
from glassgpt.training.metrics import MetricsLog
from glassgpt.training.run import Run
from glassgpt.training.state import Progress

Step = Callable[[], float]  # one optimizer step; returns its loss
H100_FLOPS = 989e12
LR, BETAS, DECAY = 6e-4, (0.9, 0.95), 0.1


@dataclass(frozen=True)
class Setting:
    """What all sides train."""

    model: ModelConfig
    windows: int  # of an optimizer step
    device: str
    compile: bool

    @property
    def tokens(self) -> int:
        return self.windows * self.model.context_length


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("nanogpt", type=Path, help="nanoGPT's model.py")
    parser.add_argument("--size", default="gpt2")
    parser.add_argument("--tokens", type=int, default=524_288, help="of an optimizer step")
    parser.add_argument("--rows", type=int, default=64, help="windows that glassgpt and nanoGPT compute at once")
    parser.add_argument("--hf-rows", type=int, default=32, help="windows that transformers computes at once")
    parser.add_argument("--blocks", type=int, default=5)
    parser.add_argument("--steps", type=int, default=3, help="optimizer steps of a block")
    parser.add_argument("--only", nargs="+", choices=["nanoGPT", "transformers", "glassgpt"])
    parser.add_argument("--no-compile", action="store_true")
    args = arguments(parser)
    config = ModelConfig.named(args.size)
    if args.tiny:
        config = ModelConfig(vocab_size=300, context_length=32, emb_dim=64, num_heads=2, num_layers=2)
        args.tokens, args.rows, args.hf_rows, args.blocks, args.steps = 256, 4, 2, 2, 1
    setting = Setting(config, args.tokens // config.context_length, args.device, not args.no_compile)
    with report(args) as result, tempfile.TemporaryDirectory() as directory:
        sides: dict[str, Callable[[], Step]] = {
            "nanoGPT": lambda: nanogpt(args.nanogpt, setting, args.rows),
            "transformers": lambda: hugging_face(setting, args.hf_rows),
            "glassgpt": lambda: ours(Path(directory), setting, args.rows),
        }
        result |= measure({name: sides[name]() for name in args.only or sides}, setting, args.blocks, args.steps)
        show(result, setting, args.size)


def measure(sides: dict[str, Step], setting: Setting, blocks: int, steps: int) -> dict[str, dict]:
    """Of each side: tokens a second of every block, the first step's seconds, the last loss, the peak of the memory."""
    found = {name: {"tokens_per_second": [], "first_step_s": seconds(step, setting.device), "loss": step()}
             for name, step in sides.items()}  # fmt: skip
    for _ in range(blocks):
        for name, step in sides.items():
            release(setting.device)
            taken = seconds(lambda step=step: [step() for _ in range(steps)], setting.device)
            found[name]["tokens_per_second"].append(steps * setting.tokens / taken)
            found[name]["peak_gb"] = peak(setting.device)
    return {"sides": found}


def show(result: dict, setting: Setting, size: str) -> None:
    rates = {name: side["tokens_per_second"] for name, side in result["sides"].items()}
    print_table(f"{size}, {setting.tokens:,} tokens a step, bfloat16", "tokens/s", rates)
    flops = training_flops(setting.model, setting.model.context_length, causal=False)
    print(f"\n{flops / 1e6:,.1f} MFLOP a token, full attention")
    for name, side in result["sides"].items():
        rate = flops * statistics.median(side["tokens_per_second"])
        print(
            f"{name}: MFU {rate / H100_FLOPS:.1%}, {rate / result['matmul_tflop_s'] / 1e12:.1%} of the product above, "
            f"first step {side['first_step_s']:.1f} s, peak {side['peak_gb']:.1f} GB with the others' weights, "
            f"loss {side['loss']:.3f}"
        )


def release(device: str) -> None:
    """Gives what another side left in the allocator back, outside the time that is measured."""
    if device != "cpu":
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats(device)


def peak(device: str) -> float:
    return 0.0 if device == "cpu" else torch.cuda.max_memory_allocated(device) / 1e9


def random_tokens(setting: Setting) -> Tensor:
    shape = (setting.windows, setting.model.context_length + 1)
    return torch.randint(setting.model.vocab_size - 1, shape, generator=torch.Generator().manual_seed(0))


def peer(model: nn.Module, optimizer: torch.optim.Optimizer, setting: Setting, rows: int, loss_of: Callable) -> Step:
    """A step as in nanoGPT's train.py: micro-batches under autocast, clipping, the optimizer."""
    kind = torch.device(setting.device).type
    tokens = random_tokens(setting)
    if kind == "cuda":
        tokens = tokens.pin_memory()
    micro_batches = tokens.split(rows)

    def step() -> float:
        for part in micro_batches:
            part = part.to(setting.device, non_blocking=True)
            with torch.autocast(kind, torch.bfloat16):
                loss = loss_of(part)
            (loss / len(micro_batches)).backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        return loss.item()

    return step


def nanogpt(path: Path, setting: Setting, rows: int) -> Step:
    model = build(path, setting.model, vocab_multiple=64).to(setting.device)
    optimizer = model.configure_optimizers(DECAY, LR, BETAS, torch.device(setting.device).type)
    compiled = torch.compile(model) if setting.compile else model

    def loss_of(part: Tensor) -> Tensor:
        return compiled(part[:, :-1].contiguous(), part[:, 1:].contiguous())[1]

    return peer(model, optimizer, setting, rows, loss_of)


def hugging_face(setting: Setting, rows: int) -> Step:
    config = setting.model
    model = transformers.GPT2LMHeadModel(
        transformers.GPT2Config(
            vocab_size=config.vocab_size,
            n_positions=config.context_length,
            n_embd=config.emb_dim,
            n_layer=config.num_layers,
            n_head=config.num_heads,
            resid_pdrop=0.0,
            embd_pdrop=0.0,
            attn_pdrop=0.0,
            use_cache=False,
        )
    ).to(setting.device)
    optimizer = torch.optim.AdamW(model.parameters(), LR, BETAS, weight_decay=DECAY, fused=True)
    compiled = torch.compile(model) if setting.compile else model

    def loss_of(part: Tensor) -> Tensor:
        tokens = part[:, :-1].contiguous()
        return compiled(input_ids=tokens, labels=tokens).loss

    return peer(model, optimizer, setting, rows, loss_of)


def ours(directory: Path, setting: Setting, rows: int) -> Step:
    """One update of the training loop."""
    model = setting.model
    vocab_size, T = model.vocab_size, model.context_length
    ids = np.random.default_rng(0).integers(0, vocab_size - 1, (setting.windows + 1) * T + 1).tolist()
    tokenizer = Tokenizer([index.to_bytes(4) for index in range(vocab_size - 1)])
    write(directory, {"train": [ids], "val": [ids]}, vocab_size, tokenizer.eot, tokenizer.sha256)
    shape = model.model_dump(include={"context_length", "emb_dim", "num_heads", "num_layers"})
    config = RunConfig(
        steps=10**6,
        batch_size=setting.windows,
        micro_batch=rows,
        device=setting.device,
        precision="bfloat16",
        compile=setting.compile,
        model=ModelShape(**shape),
        optimizer=OptimizerConfig(lr=LR, weight_decay=DECAY, beta1=BETAS[0], beta2=BETAS[1]),
    )
    run = Run(config, tokenizer, directory)
    print(run)
    checkpoints, metrics = Checkpoints(directory / "checkpoints"), MetricsLog(directory)
    training = Training(run, Progress(), Interrupt(), checkpoints, metrics, hooks=[])

    def step() -> float:
        training.update(run.batch(training.progress.step))
        return training.progress.loss

    return step


if __name__ == "__main__":
    main()
