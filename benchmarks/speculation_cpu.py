"""What speculation costs and gains on the CPU: passes over 1 to 8 tokens, and texts written with and without it.

    python benchmarks/speculation_cpu.py [SOURCE] [--draft MODEL] [--precision int8] [--new 128] [--blocks 5]

The passes need no trained model: without a source they are those of random weights in GPT-2's shape (``--size``). The
texts are written by the source, greedy and sampled, the ways interleaved; their tokens have to be the same. Prints the
tables, and how many guesses were right.
"""

from __future__ import annotations

import argparse
import time

import torch
from _report import print_machine, print_table

import glassgpt
from glassgpt.generation.loading import random_in
from glassgpt.generation.sampling import SamplingParams
from glassgpt.generation.text import LanguageModel
from glassgpt.model.cache import Cache
from glassgpt.model.config import ModelConfig
from glassgpt.model.gpt import GPT
from glassgpt.quantization.precision import PRECISIONS

SIZES = (1, 2, 4, 8)
PROMPTS = ("Once upon a time", "The old man looked at the sea. The old man looked at", "1, 2, 3, 4, 1, 2, 3, 4, 1, 2,")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("source", nargs="?")
    parser.add_argument("--draft", help="a smaller model with the same vocabulary")
    parser.add_argument("--size", default="gpt2")
    parser.add_argument("--precision", default="float32", choices=PRECISIONS)
    parser.add_argument("--new", type=int, default=128)
    parser.add_argument("--blocks", type=int, default=5)
    args = parser.parse_args()
    print_machine()
    if args.source is None:
        model = random_in(ModelConfig.named(args.size), args.precision)
        measure_passes(model, args.blocks, f"{args.size}, {args.precision}")
        return
    gpt = glassgpt.load(args.source, args.precision)
    measure_passes(gpt.model, args.blocks, f"{args.source}, {args.precision}")
    draft = {"draft": glassgpt.load(args.draft, args.precision)} if args.draft else {}
    for temperature in (0.0, 0.8):
        measure_texts(gpt, {"plain": None, "lookup": "lookup", **draft}, temperature, args.new, args.blocks)


@torch.inference_mode()
def measure_passes(model: GPT, blocks: int, title: str) -> None:
    """How long a pass over a few tokens takes, head included, after half a context."""
    half = model.config.context_length // 2
    tokens, cache = torch.ones(1, half, dtype=torch.int64), Cache(model.config, 1)
    model.hidden(tokens, cache)
    seconds: dict[str, list[float]] = {f"{size} tokens": [] for size in SIZES}
    for _ in range(1 + 10 * blocks):
        for size in SIZES:
            cache.rewind([half])
            start = time.perf_counter()
            model.unembed(model.hidden(tokens[:, :size], cache)[0])
            seconds[f"{size} tokens"].append(1000 * (time.perf_counter() - start))
    print_table(f"a pass of {title}", "ms", {name: laps[1:] for name, laps in seconds.items()})


def measure_texts(
    gpt: LanguageModel, ways: dict[str, str | LanguageModel | None], temperature: float, new: int, blocks: int
) -> None:
    """How fast each way writes the same texts."""
    params = SamplingParams(max_new_tokens=new, temperature=temperature, stop_at_eot=False)
    rates: dict[str, list[float]] = {way: [] for way in ways}
    tallies = {}
    for _ in range(blocks):
        written = []
        for way, speculate in ways.items():
            writer = gpt.writer(speculate=speculate, num_rows=1)
            start = time.perf_counter()
            completions = [writer.add(prompt, params, seed=1) for prompt in PROMPTS]
            while not writer.is_idle:
                writer.step()
            texts = [[token.id for token in completion.tokens] for completion in completions]
            rates[way].append(sum(map(len, texts)) / (time.perf_counter() - start))
            written.append(texts)
            tallies[way] = writer.tally
        assert all(texts == written[0] for texts in written), "speculation wrote other tokens"
    print_table(f"texts at temperature {temperature}", "tok/s", rates)
    for way, tally in tallies.items():
        if tally is not None:
            print(f"{way}: {tally.accepted} of {tally.proposed} guesses right in {tally.passes} passes")


if __name__ == "__main__":
    main()
