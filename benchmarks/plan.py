"""What `glassgpt plan --here` predicts against what training then does: tokens a second and peak memory.

    python benchmarks/plan.py --repeats 5

Every prediction and every measurement is made in a process of its own, one after the other, in turns. A measurement is
a run on random tokens whose first two steps are not timed. Its memory is the most that its process ever held: once with
an allocator that gives back what is freed, which is what a run needs, and once as `glassgpt train` runs it, keeping
freed memory for the next step because that is faster.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
from _report import print_machine

from glassgpt.data.shards import write
from glassgpt.inspection.prediction import predict
from glassgpt.kernels.memory import keep_freed_memory
from glassgpt.tokenizer.tokenizer import Tokenizer
from glassgpt.training.checkpoint import Checkpoints
from glassgpt.training.config import ModelShape, OptimizerConfig, RunConfig
from glassgpt.training.interrupt import Interrupt
from glassgpt.training.loop import Training
from glassgpt.training.metrics import MetricsLog
from glassgpt.training.run import Run
from glassgpt.training.state import Progress

GPT2 = ModelShape(context_length=512, emb_dim=768, num_heads=12, num_layers=12)
MUON = OptimizerConfig(name="muon")

# Vocabulary, timed steps, configuration.
CASES: dict[str, tuple[int, int, RunConfig]] = {
    "0.9M": (
        512,
        50,
        RunConfig(batch_size=12, model=ModelShape(context_length=64, emb_dim=128, num_heads=4, num_layers=4)),
    ),
    "0.9M, muon": (
        1024,
        20,
        RunConfig(
            batch_size=16,
            optimizer=MUON,
            model=ModelShape(context_length=128, emb_dim=128, num_heads=4, num_layers=4),
        ),
    ),
    "5M": (
        1024,
        8,
        RunConfig(batch_size=16, model=ModelShape(context_length=256, emb_dim=256, num_heads=4, num_layers=6)),
    ),
    "27M, 2 micro-batches": (
        4096,
        4,
        RunConfig(
            batch_size=16,
            micro_batch=8,
            model=ModelShape(context_length=256, emb_dim=512, num_heads=8, num_layers=8),
        ),
    ),
    "124M": (50257, 3, RunConfig(batch_size=1, model=GPT2)),
    "124M, bfloat16": (50257, 3, RunConfig(batch_size=2, precision="bfloat16", model=GPT2)),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", choices=list(CASES), help="one size")
    parser.add_argument("--repeats", type=int, default=3, help="of each pair; their medians count")
    parser.add_argument("--job", choices=list(JOBS), help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.job:
        print(json.dumps(JOBS[arguments.job](*CASES[arguments.only])))
        return
    print_machine()
    print("\n| run | tokens/s predicted | measured | error | MiB predicted | needed | error | held |")
    print("|---|---|---|---|---|---|---|---|")
    for name in [arguments.only] if arguments.only else CASES:
        rounds = [[in_a_process(name, job) for job in JOBS] for _ in range(arguments.repeats)]
        predictions, runs, needs = (medians(results) for results in zip(*rounds, strict=True))
        print(
            f"| {name} | {predictions[0]:,.0f} | {runs[0]:,.0f} | {predictions[0] / runs[0] - 1:+.1%} "
            f"| {predictions[1] / 2**20:,.0f} | {needs[1] / 2**20:,.0f} | {predictions[1] / needs[1] - 1:+.1%} "
            f"| {runs[1] / 2**20:,.0f} |",
            flush=True,
        )


def in_a_process(name: str, job: str) -> list[float]:
    command = [sys.executable, __file__, "--only", name, "--job", job]
    gives_back = {"MALLOC_MMAP_THRESHOLD_": "65536"} if job == "need" else {}
    output = subprocess.run(command, env={**os.environ, **gives_back}, check=True, stdout=subprocess.PIPE, text=True)
    return json.loads(output.stdout)


def medians(results: tuple[list[float], ...]) -> list[float]:
    return [statistics.median(column) for column in zip(*results, strict=True)]


def predicted(vocab_size: int, steps: int, config: RunConfig) -> list[float]:
    """Tokens a second and bytes, as ``glassgpt plan --here`` has them."""
    keep_freed_memory()
    found = predict(config, vocab_size)
    return [found.tokens_per_second, found.memory]


def measured(vocab_size: int, steps: int, config: RunConfig) -> list[float]:
    """Tokens a second and bytes of a real run."""
    with tempfile.TemporaryDirectory() as name:
        directory = Path(name)
        length = (config.batch_size + 1) * config.model.context_length + 1
        ids = np.random.default_rng(0).integers(0, vocab_size - 1, length).tolist()
        tokenizer = Tokenizer([index.to_bytes(4) for index in range(vocab_size - 1)])
        write(directory, {"train": [ids], "val": [ids]}, vocab_size, tokenizer.eot, tokenizer.sha256)
        run = Run(config, tokenizer, directory)
        checkpoints, metrics = Checkpoints(directory / "checkpoints"), MetricsLog(directory)
        training = Training(run, Progress(), Interrupt(), checkpoints, metrics, hooks=[])
        times = []
        for step in range(steps + 2):
            start = time.perf_counter()
            training.update(run.batches.at(step))
            times.append(time.perf_counter() - start)
    return [config.batch_size * run.context_length / statistics.median(times[2:]), peak()]


def peak() -> int:
    """The most bytes this process ever held; getrusage would count those of the process that started it."""
    status = Path("/proc/self/status").read_text()
    return 1024 * int(status.partition("VmHWM:")[2].split()[0])


def kept(vocab_size: int, steps: int, config: RunConfig) -> list[float]:
    """Tokens a second and bytes of a real run, as ``glassgpt train`` has it."""
    keep_freed_memory()
    return measured(vocab_size, steps, config)


def needed(vocab_size: int, steps: int, config: RunConfig) -> list[float]:
    """The same of a few steps in which freed memory goes back."""
    return measured(vocab_size, 1, config)


JOBS: dict[str, Callable[[int, int, RunConfig], list[float]]] = {"predict": predicted, "run": kept, "need": needed}

if __name__ == "__main__":
    main()
