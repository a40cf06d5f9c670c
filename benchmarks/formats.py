"""Every format out and in again at GPT-2's shape: judge, largest logit difference, time and peak memory.

    python benchmarks/formats.py [--size gpt2] [--only gguf ...]

Weights are random. Each conversion runs in a process of its own, certificate included: its peak is the memory of
reading, writing, comparing every tensor and running both models. Needs the development dependencies.
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from _report import print_machine

from glassgpt.model.config import ModelConfig
from glassgpt.model.gpt import GPT, initialize
from glassgpt.tokenizer.gpt2 import gpt2
from glassgpt.weights.conversion import convert
from glassgpt.weights.directory import save_model

# Format, dtype, name of the file or directory, and who else was seen to read it in the tests.
ROWS = [
    ("hf", None, "hf", "transformers"),
    ("hf", "bfloat16", "hf-bfloat16", "transformers"),
    ("gguf", None, "x.gguf", "llama.cpp"),
    ("gguf", "float16", "f16.gguf", "llama.cpp"),
    ("gguf", "q8_0", "q8.gguf", "llama.cpp"),
    ("gguf", "q5_0", "q5.gguf", "llama.cpp"),
    ("gguf", "q4_0", "q4.gguf", "llama.cpp"),
    ("onnx", None, "onnx", "onnxruntime"),
    ("openai", None, "117M", "itself"),
    ("book", None, "book.pth", "the book's GPTModel"),
    ("nanogpt", None, "ckpt.pt", "itself"),
    ("llmc", None, "x.bin", "itself"),
]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--size", default="gpt2")
    parser.add_argument("--only", nargs="*", default=[])
    parser.add_argument("--one", nargs=4, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.one:
        one(*args.one)
        return
    print_machine()
    print("\n| format | dtype | judge | largest logit difference | greedy | out, s | peak MB | and back, s | peak MB |")
    print("|---|---|---|---|---|---|---|---|---|")
    with tempfile.TemporaryDirectory() as folder:
        source = Path(folder) / "model"
        save_model(initialize(GPT(ModelConfig.named(args.size)), seed=1), gpt2(), source)
        for form, dtype, name, judge in ROWS:
            if args.only and form not in args.only:
                continue
            there = measured(source, Path(folder) / name, form, dtype)
            back = measured(Path(folder) / name, Path(folder) / f"{name}.back", "hf", None)
            print(
                f"| {form} | {dtype or 'float32'} | {judge} | {there['difference']:.2g} | {there['greedy']} "
                f"| {there['seconds']:.1f} | {there['peak']} | {back['seconds']:.1f} | {back['peak']} |",
                flush=True,
            )


def measured(source: Path, destination: Path, form: str, dtype: str | None) -> dict[str, object]:
    """One conversion in a process of its own."""
    command = [sys.executable, __file__, "--one", str(source), str(destination), form, dtype or ""]
    return json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout.splitlines()[-1])


def one(source: str, destination: str, form: str, dtype: str) -> None:
    start = time.perf_counter()
    certificate = convert(Path(source), Path(destination), form, dtype or None, gpt2())
    print(
        json.dumps(
            {
                "difference": certificate.logits.largest_difference,
                "greedy": f"{certificate.greedy.agreed}/{certificate.greedy.of}",
                "seconds": time.perf_counter() - start,
                "peak": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024,
            }
        )
    )


if __name__ == "__main__":
    main()
