"""Generation on the CPU against llama.cpp: the same weights, both sides in turn in one process.

    python benchmarks/llama_cpp.py [--size gpt2] [--new 64] [--rounds 8] [--threads 2] [--folder DIR] [--json FILE]

Weights are random (speed does not depend on them), one sequence, greedy, no end of text. Decoding counts the tokens
after the first; reading a prompt of 512 tokens counts everything up to the first. llama.cpp runs with flash attention
on or off, whichever is faster here, and its own clock is taken. Its q4_0 files keep eight bits in the output layer, and
so does our int4.
Needs the development dependencies; ``--folder`` keeps the 1.1 GB of weights for the next time.
"""

from __future__ import annotations

import argparse
import json
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import torch
import xllamacpp
from _report import print_machine

import glassgpt
from glassgpt.generation.engine import Engine
from glassgpt.generation.sampling import SamplingParams
from glassgpt.generation.text import LanguageModel
from glassgpt.kernels.arena import huge_pages
from glassgpt.model.config import ModelConfig
from glassgpt.model.gpt import GPT, initialize
from glassgpt.tokenizer.gpt2 import gpt2
from glassgpt.weights.formats import open_model, write_model

Answer = tuple[float, list[int] | str]  # tokens a second, and what was said

# Row -> our precision, llama.cpp's file, what we want to reach of its speed.
DECODING = {
    "float32": ("float32", "float32", 0.95),
    "bfloat16": ("bfloat16", "bfloat16", 1.0),
    "int8": ("int8", "q8_0", 1.3),
    "int4": ("int4", "q4_0", 1.1),
}
READING = {"bfloat16, 512 read": ("bfloat16", "bfloat16", 1.8)}
PROMPT = 28


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--size", default="gpt2")
    parser.add_argument("--layers", type=int, help="fewer layers, to try the script")
    parser.add_argument("--new", type=int, default=64)
    parser.add_argument("--read", type=int, default=512)
    parser.add_argument("--rounds", type=int, default=8)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--rows", nargs="*", default=[*DECODING, *READING], choices=[*DECODING, *READING])
    parser.add_argument("--folder", type=Path)
    parser.add_argument("--json", type=Path)
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    print_machine()
    print(f"llama.cpp: {xllamacpp.get_system_info()}")
    print(f"memory: {read_rate():.0f} GB/s by a plain sum of float32 in huge pages\n")

    with tempfile.TemporaryDirectory() as temporary:
        folder = args.folder or Path(temporary)
        config = ModelConfig.named(args.size)
        directory = folder / f"{args.size}-{args.layers or config.num_layers}"
        if not directory.exists():
            config = config.model_copy(update={"num_layers": args.layers or config.num_layers})
            LanguageModel(initialize(GPT(config), seed=1), gpt2()).save(directory)
        results = {row: compare(row, directory, args) for row in args.rows}
    print("\n| | llama.cpp tok/s | range | glassgpt tok/s | range | ratio | goal |\n|---|---|---|---|---|---|---|")
    for row, (theirs, ours) in results.items():
        goal = {**DECODING, **READING}[row][2]
        ratio = statistics.median(ours) / statistics.median(theirs)
        print(f"| {row} | {spread(theirs)} | {spread(ours)} | {ratio:.2f}x | {goal:.2f}x |")
    if args.json:
        rates = {row: {"llama.cpp": theirs, "glassgpt": ours} for row, (theirs, ours) in results.items()}
        args.json.write_text(json.dumps(rates, indent=2) + "\n")


def compare(row: str, directory: Path, args: argparse.Namespace) -> tuple[list[float], list[float]]:
    """The rates of llama.cpp and of ours, round by round."""
    is_reading = row in READING
    precision, kind, _ = (READING if is_reading else DECODING)[row]
    file = directory.with_name(f"{directory.name}-{kind}.gguf")
    if not file.exists():
        write_model(open_model(directory), "gguf", file, kind)
    ours, theirs = our_side(directory, precision), their_side(file, args.threads)
    length, new = (args.read, 1) if is_reading else (PROMPT, args.new)
    rates: tuple[list[float], list[float]] = [], []
    for turn in range(args.rounds + 1):
        generator = torch.Generator().manual_seed(turn)
        prompt = torch.randint(50257, (length,), generator=generator).tolist()
        answers = theirs(prompt, new), ours(prompt, new)
        same = answers[0][1] == gpt2().decode(answers[1][1])
        print(f"{row} {turn}: {answers[0][0]:.1f}, {answers[1][0]:.1f}{', the same text' if same else ''}", flush=True)
        if turn:  # the first warms up
            for side, answer in zip(rates, answers, strict=True):
                side.append(answer[0])
    return rates


def our_side(directory: Path, precision: str) -> Callable[[list[int], int], Answer]:
    model = glassgpt.load(directory, precision).model

    def run(prompt: list[int], new: int) -> Answer:
        engine = Engine(model, num_rows=1)
        sequence = engine.add(prompt, SamplingParams(max_new_tokens=new, temperature=0.0, stop_at_eot=False), seed=1)
        start = time.perf_counter()
        engine.step()
        read = time.perf_counter()
        while not engine.is_idle:
            engine.step()
        rate = len(prompt) / (read - start) if new == 1 else (new - 1) / (time.perf_counter() - read)
        return rate, sequence.tokens[len(prompt) :]

    return run


def their_side(file: Path, threads: int) -> Callable[[list[int], int], Answer]:
    """llama.cpp with the kind of attention that is faster here."""
    kinds = xllamacpp.llama_flash_attn_type
    sides = [
        llama(file, threads, kinds.LLAMA_FLASH_ATTN_TYPE_ENABLED),
        llama(file, threads, kinds.LLAMA_FLASH_ATTN_TYPE_DISABLED),
    ]
    prompt = list(range(1000, 1000 + PROMPT))
    for side in sides:
        side(prompt, 4)
    return max(sides, key=lambda side: max(side(prompt, 16)[0] for _ in range(2)))


def llama(file: Path, threads: int, flash: xllamacpp.llama_flash_attn_type) -> Callable[[list[int], int], Answer]:
    params = xllamacpp.CommonParams()
    params.model.path = str(file)
    params.n_ctx, params.n_parallel, params.n_batch, params.n_ubatch = 1024, 1, 512, 512
    params.cpuparams.n_threads = params.cpuparams_batch.n_threads = threads
    params.flash_attn_type, params.verbosity = flash, -1
    server = xllamacpp.Server(params)

    def run(prompt: list[int], new: int) -> Answer:
        request = {"prompt": prompt, "max_tokens": new, "temperature": 0, "ignore_eos": True, "cache_prompt": False}
        answer = server.handle_completions(request)
        times = answer["timings"]
        rate = times["prompt_per_second" if new == 1 else "predicted_per_second"]
        return rate, answer["choices"][0]["text"]

    return run


def read_rate() -> float:
    """GB/s at which all threads read memory, the best of some tries."""
    numbers = huge_pages(2**28).view(torch.float32).fill_(1.0)
    best = 0.0
    for _ in range(10):
        start = time.perf_counter()
        numbers.sum()
        best = max(best, numbers.nbytes / (time.perf_counter() - start) / 1e9)
    return best


def spread(rates: list[float]) -> str:
    return f"{statistics.median(rates):,.1f} | {min(rates):,.1f} to {max(rates):,.1f}"


if __name__ == "__main__":
    main()
