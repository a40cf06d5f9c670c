"""Largest logit difference against transformers, both directions, for every shape of the family's head and bias.

    python benchmarks/logits.py [--size gpt2]

Ours -> theirs: a random model is saved and opened by transformers. Theirs -> ours: transformers saves it again and we
load that. Float32, 64 tokens. The differences are rounding: logits of a random GPT-2 are of order 1.
"""

from __future__ import annotations

import argparse
import itertools
import tempfile
from pathlib import Path

import torch
import transformers
from _report import print_machine

from glassgpt.model.config import ModelConfig
from glassgpt.model.gpt import GPT
from glassgpt.tokenizer.gpt2 import gpt2
from glassgpt.weights.directory import load_model, save_model


@torch.inference_mode()
def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--size", default="gpt2")
    size = parser.parse_args().size
    print_machine()
    transformers.logging.set_verbosity_error()
    transformers.logging.disable_progress_bar()
    tokens = torch.randint(50257, (1, 64), generator=torch.Generator().manual_seed(1))
    print("\n| head | query/key/value bias | ours -> transformers | transformers -> ours |\n|---|---|---|---|")
    for tied_head, qkv_bias in itertools.product([True, False], repeat=2):
        torch.manual_seed(1)
        model = GPT(ModelConfig.named(size, tied_head=tied_head, qkv_bias=qkv_bias)).eval()
        if tied_head:  # PyTorch's default embedding is far too large for a head
            model.token_embedding.weight.mul_(0.02)
        expected = model(tokens)
        with tempfile.TemporaryDirectory() as folder:
            save_model(model, gpt2(), Path(folder) / "ours")
            theirs = transformers.AutoModelForCausalLM.from_pretrained(Path(folder) / "ours").eval()
            there = (theirs(tokens).logits - expected).abs().max().item()
            theirs.save_pretrained(Path(folder) / "theirs")
            back = (load_model(Path(folder) / "theirs")(tokens) - theirs(tokens).logits).abs().max().item()
        names = ("tied" if tied_head else "untied", "yes" if qkv_bias else "no")
        print(f"| {names[0]} | {names[1]} | {there:.1e} | {back:.1e} |", flush=True)


if __name__ == "__main__":
    main()
