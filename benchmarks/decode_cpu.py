"""Decode speed on the CPU against transformers with its cache: same weights, same prompt, interleaved in one process.

    python benchmarks/decode_cpu.py [--size gpt2] [--new 64] [--blocks 5]

Weights are random (speed does not depend on them) in GPT-2's shape; greedy, end of text ignored, float32, prefill
of the prompt included in both. Needs the development dependencies. Prints the table the README quotes.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from pathlib import Path

import torch
import transformers
from _report import print_machine, print_table

import glassgpt
from glassgpt.generation.text import LanguageModel
from glassgpt.model.config import ModelConfig
from glassgpt.model.gpt import GPT, initialize
from glassgpt.tokenizer.gpt2 import gpt2

PROMPT = "Every effort moves you closer to the place that you have in mind, and every day holds a chance to begin again"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--size", default="gpt2")
    parser.add_argument("--new", type=int, default=64)
    parser.add_argument("--blocks", type=int, default=5)
    args = parser.parse_args()
    print_machine()
    transformers.logging.set_verbosity_error()
    transformers.logging.disable_progress_bar()

    with tempfile.TemporaryDirectory() as folder:
        directory = Path(folder) / "model"
        LanguageModel(initialize(GPT(ModelConfig.named(args.size)), seed=1), gpt2()).save(directory)
        ours = glassgpt.load(directory)
        theirs = transformers.AutoModelForCausalLM.from_pretrained(directory).eval()
    prompt = torch.tensor([ours.tokenizer.encode(PROMPT)])

    def run_ours() -> list[int]:
        [completion] = ours.complete([PROMPT], max_new_tokens=args.new, temperature=0.0, stop_at_eot=False)
        return [token.id for token in completion.tokens]

    @torch.inference_mode()
    def run_theirs() -> list[int]:
        output = theirs.generate(
            prompt,
            attention_mask=torch.ones_like(prompt),
            min_new_tokens=args.new,
            max_new_tokens=args.new,
            do_sample=False,
            use_cache=True,
            pad_token_id=50256,
        )
        return output[0, prompt.shape[1] :].tolist()

    same = sum(a == b for a, b in zip(run_ours(), run_theirs(), strict=True))
    print(f"greedy tokens that agree: {same} of {args.new}")
    rates: dict[str, list[float]] = {"transformers": [], "glassgpt": []}
    for _ in range(args.blocks):
        for name, run in (("transformers", run_theirs), ("glassgpt", run_ours)):
            start = time.perf_counter()
            run()
            rates[name].append(args.new / (time.perf_counter() - start))
    print_table(f"{args.size}, float32, {prompt.shape[1]} prompt + {args.new} new tokens, batch 1", "tok/s", rates)


if __name__ == "__main__":
    main()
