"""From the start of ``glassgpt generate`` to the end of its first token, against ``import torch`` alone.

    python benchmarks/first_token.py [--rounds 7]

Whole processes, in turn: the interpreter, torch, this package, the bundled model or a directory with random weights in
GPT-2's shape and its vocabulary, one token. Files are read before, so that they come from memory. The goal is 0.4 s
above ``import torch``.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from _report import print_machine

from glassgpt.generation.text import LanguageModel
from glassgpt.model.config import ModelConfig
from glassgpt.model.gpt import GPT, initialize
from glassgpt.tokenizer.gpt2 import gpt2
from glassgpt.weights.source import BUNDLED


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=7)
    args = parser.parse_args()
    print_machine()
    with tempfile.TemporaryDirectory() as folder:
        large = str(Path(folder) / "model")
        LanguageModel(initialize(GPT(ModelConfig.named("gpt2")), seed=1), gpt2()).save(large)
        commands = {
            "import torch": [sys.executable, "-c", "import torch"],
            "glassgpt --help": [sys.executable, "-m", "glassgpt", "--help"],
            "the bundled model, 3.5M": generate(BUNDLED),
            "124M, float32": generate(large),
            "124M, bfloat16": [*generate(large), "--precision", "bfloat16"],
        }
        for command in commands.values():
            seconds(command)
        times: dict[str, list[float]] = {name: [] for name in commands}
        for _ in range(args.rounds):
            for name, command in commands.items():
                times[name].append(seconds(command))
    base = min(times["import torch"])
    print("\n| first token | s, least | most | above import torch |\n|---|---|---|---|")
    for name, values in times.items():
        print(f"| {name} | {min(values):.2f} | {max(values):.2f} | {min(values) - base:+.2f} |")


def generate(model: str) -> list[str]:
    return [sys.executable, "-m", "glassgpt", "generate", model, "Once", "--max-new-tokens", "1"]


def seconds(command: list[str]) -> float:
    start = time.perf_counter()
    subprocess.run(command, check=True, capture_output=True)
    return time.perf_counter() - start


if __name__ == "__main__":
    main()
