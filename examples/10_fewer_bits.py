"""A model in fewer bits: how large it is, how it predicts a text, and what it thinks of each token."""

import tempfile
from pathlib import Path

import glassgpt
from glassgpt.generation.text import LanguageModel
from glassgpt.model.config import ModelConfig
from glassgpt.model.gpt import GPT, initialize
from glassgpt.quantization.precision import PRECISIONS
from glassgpt.tokenizer.gpt2 import gpt2

TEXT = "It was the best of times, it was the worst of times, it was the age of wisdom, it was the age of foolishness."

model = initialize(GPT(ModelConfig(emb_dim=96, num_layers=3, num_heads=3, context_length=64)), seed=1).eval()

with tempfile.TemporaryDirectory() as folder:
    original, small = Path(folder) / "original", Path(folder) / "small"
    LanguageModel(model, gpt2()).save(original)
    for precision in PRECISIONS:
        score = glassgpt.load(original, precision).score(TEXT, stride=16)
        print(f"{precision:9} {score.bits_per_byte:.4f} bits per byte, perplexity {score.perplexity:,.0f}")

    glassgpt.load(original, "int4").save(small)
    for directory in (original, small):
        print(directory.name, f"{sum(path.stat().st_size for path in directory.glob('*.safetensors')):,} bytes")

    gpt = glassgpt.load(small)
    for id, logprob in zip(gpt.tokenizer.encode("the age"), gpt.logprobs(["the age"])[0], strict=True):
        print(f"{gpt.precision} {gpt.tokenizer.decode([id])!r} {logprob:.2f}")
