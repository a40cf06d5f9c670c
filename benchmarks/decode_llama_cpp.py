"""Generation on the CPU against llama.cpp: the same weights, both sides in turn in one process.

    python benchmarks/decode_llama_cpp.py [--size gpt2] [--new 64] [--rounds 8] [--threads 2] [--folder DIR]

Weights are random (speed does not depend on them), one sequence, greedy, no end of text. Decoding counts the tokens
after the first; reading a prompt of 512 tokens counts everything up to the first. llama.cpp runs with flash attention
on or off, whichever is faster here, and its own clock is taken. Both keep their cache between rounds, and no prompt is
read twice. Its q4_0 files keep eight bits in the output layer, and so does our int4.

Needs ``pip install llama-cpp-python``, which compiles llama.cpp for this processor (some minutes). Without it the
development dependency xllamacpp is taken, whose package has no AVX-512: what the peer can do here is printed.
``--folder`` keeps the 1.1 GB of weights for the next time, ``--json`` writes the rates.
"""

from __future__ import annotations

import argparse
import ctypes
import json
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import torch
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

try:
    import llama_cpp
except ImportError:
    llama_cpp = None
    import xllamacpp

Side = Callable[[list[int], int], tuple[float, str]]  # prompt, number of tokens -> tokens a second, text

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
    print(f"llama.cpp: {llama_cpp.llama_print_system_info().decode() if llama_cpp else xllamacpp.get_system_info()}")
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
        same = answers[0][1] == answers[1][1]
        print(f"{row} {turn}: {answers[0][0]:.1f}, {answers[1][0]:.1f}{', the same text' if same else ''}", flush=True)
        if turn:  # the first warms up
            for side, answer in zip(rates, answers, strict=True):
                side.append(answer[0])
    return rates


def our_side(directory: Path, precision: str) -> Side:
    engine = Engine(glassgpt.load(directory, precision).model, num_rows=1)  # with its cache, as llama.cpp's context

    def run(prompt: list[int], new: int) -> tuple[float, str]:
        sequence = engine.add(prompt, SamplingParams(max_new_tokens=new, temperature=0.0, stop_at_eot=False), seed=1)
        start = time.perf_counter()
        engine.step()
        read = time.perf_counter()
        while not engine.is_idle:
            engine.step()
        rate = len(prompt) / (read - start) if new == 1 else (new - 1) / (time.perf_counter() - read)
        return rate, gpt2().decode(sequence.tokens[len(prompt) :])

    return run


def their_side(file: Path, threads: int) -> Side:
    """llama.cpp with flash attention or without, whichever is faster here."""
    sides = [(compiled if llama_cpp else packaged)(file, threads, flash) for flash in (True, False)]
    prompt = list(range(1000, 1000 + PROMPT))
    for side in sides:
        side(prompt, 4)
    return max(sides, key=lambda side: max(side(prompt, 16)[0] for _ in range(2)))


def compiled(file: Path, threads: int, flash: bool) -> Side:
    """llama.cpp as llama-cpp-python compiled it for this processor."""
    sizes = {"n_ctx": 1024, "n_batch": 512, "n_ubatch": 512, "n_threads": threads, "n_threads_batch": threads}
    model = llama_cpp.Llama(str(file), flash_attn=flash, verbose=False, no_perf=False, **sizes)
    context = model.ctx

    def likeliest() -> int:
        address = ctypes.addressof(llama_cpp.llama_get_logits(context).contents)
        logits = (ctypes.c_float * model.n_vocab()).from_address(address)
        return int(torch.frombuffer(logits, dtype=torch.float32).argmax())

    def run(prompt: list[int], new: int) -> tuple[float, str]:
        model.reset()
        llama_cpp.llama_perf_context_reset(context)
        model.eval(prompt)
        ids = [likeliest()]
        while len(ids) < new:
            model.eval(ids[-1:])
            ids.append(likeliest())
        times = llama_cpp.llama_perf_context(context)
        seconds = (times.t_p_eval_ms if new == 1 else times.t_eval_ms) / 1000
        return (len(prompt) if new == 1 else times.n_eval) / seconds, gpt2().decode(ids)

    return run


def packaged(file: Path, threads: int, flash: bool) -> Side:
    """llama.cpp as it comes with xllamacpp."""
    kinds = xllamacpp.llama_flash_attn_type
    params = xllamacpp.CommonParams()
    params.model.path = str(file)
    params.n_ctx, params.n_parallel, params.n_batch, params.n_ubatch = 1024, 1, 512, 512
    params.cpuparams.n_threads = params.cpuparams_batch.n_threads = threads
    params.flash_attn_type = kinds.LLAMA_FLASH_ATTN_TYPE_ENABLED if flash else kinds.LLAMA_FLASH_ATTN_TYPE_DISABLED
    params.verbosity = -1
    server = xllamacpp.Server(params)

    def run(prompt: list[int], new: int) -> tuple[float, str]:
        request = {"prompt": prompt, "max_tokens": new, "temperature": 0, "ignore_eos": True, "cache_prompt": False}
        answer = server.handle_completions(request)
        rate = answer["timings"]["prompt_per_second" if new == 1 else "predicted_per_second"]
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
