"""The smallest valid model in every format, as files in memory: what the fuzzer begins from."""

from __future__ import annotations

import tempfile
from pathlib import Path

import torch

from glassgpt.model.config import ModelConfig
from glassgpt.model.gpt import GPT, initialize
from glassgpt.tokenizer.tokenizer import Tokenizer
from glassgpt.tokenizer.vocabulary import BYTES
from glassgpt.weights.formats import write_model
from glassgpt.weights.opened import Opened

Files = dict[str, bytes]  # relative path -> content; the model is at "model" or at its only file

# Our name for a kind of seed -> the format, the path it is written to, and perhaps a dtype.
KINDS = {
    "hf": ("hf", "model"),
    "hf-bin": ("hf", "model"),
    "int8": ("quantized", "model"),
    "int4": ("quantized", "model", "int4"),
    "openai": ("openai", "model"),
    "book": ("book", "model.pth"),
    "safetensors": ("book", "model.safetensors"),
    "nanogpt": ("nanogpt", "model.pt"),
    "llmc": ("llmc", "model.bin"),
    "gguf": ("gguf", "model.gguf"),
}


def seed(kind: str) -> tuple[Files, str]:
    """The files of a valid model of this kind, and which path to open."""
    name, path, *dtype = KINDS[kind]
    tokenizer = Tokenizer([*BYTES, b"ab", b"abc"])
    config = ModelConfig(vocab_size=tokenizer.vocab_size, context_length=3, emb_dim=4, num_heads=2, num_layers=1)
    with tempfile.TemporaryDirectory() as folder:
        write_model(Opened.of(initialize(GPT(config), seed=1), tokenizer), name, Path(folder) / path, *dtype)
        if kind == "hf-bin":
            _as_pytorch(Path(folder) / path)
        files = {str(file.relative_to(folder)): file.read_bytes() for file in Path(folder).rglob("*") if file.is_file()}
    return files, path


def _as_pytorch(directory: Path) -> None:
    """The directory as transformers wrote it before safetensors, vocabulary in two files."""
    from safetensors.torch import load_file

    torch.save(load_file(directory / "model.safetensors"), directory / "pytorch_model.bin")
    (directory / "model.safetensors").unlink()
    (directory / "tokenizer.json").unlink()
