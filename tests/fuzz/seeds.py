"""The smallest valid model in every format, as files in memory: what the fuzzer begins from."""

from __future__ import annotations

import json
import tempfile
from pathlib import Path

import torch

from glassgpt.model.config import ModelConfig
from glassgpt.model.gpt import GPT, initialize
from glassgpt.tokenizer.tokenizer import Tokenizer
from glassgpt.tokenizer.vocabulary import BYTES
from glassgpt.weights.formats import write_model
from glassgpt.weights.onnx_weights import MODEL, WEIGHTS
from glassgpt.weights.opened import Opened
from glassgpt.weights.wire import TEXT, VARINT, message

Files = dict[str, bytes]  # relative path -> content; the model is at "model" or at its only file

# Our name for a kind of seed -> the format, the path it is written to, and perhaps a dtype.
KINDS = {
    "hf": ("hf", "model"),
    "hf-bin": ("hf", "model"),
    "hf-shards": ("hf", "model"),
    "int8": ("quantized", "model"),
    "int4": ("quantized", "model", "int4"),
    "openai": ("openai", "model"),
    "book": ("book", "model.pth"),
    "safetensors": ("book", "model.safetensors"),
    "nanogpt": ("nanogpt", "model.pt"),
    "llmc": ("llmc", "model.bin"),
    "gguf": ("gguf", "model.gguf"),
    "onnx": ("hf", "model"),
}

# Format -> the kinds that its trials are shared by.
FORMATS = {
    "hf": ["hf", "hf-bin", "hf-shards"],
    "quantized": ["int8", "int4"],
    "openai": ["openai"],
    "book": ["book", "safetensors"],
    "nanogpt": ["nanogpt"],
    "llmc": ["llmc"],
    "gguf": ["gguf"],
    "onnx": ["onnx"],
}


def seed(kind: str) -> tuple[Files, str]:
    """The files of a valid model of this kind, and which path to open."""
    name, path, *dtype = KINDS[kind]
    tokenizer = Tokenizer([*BYTES, b"ab"])
    config = ModelConfig(vocab_size=tokenizer.vocab_size, context_length=3, emb_dim=2, num_heads=2, num_layers=1)
    model = initialize(GPT(config), seed=1)
    with tempfile.TemporaryDirectory() as folder:
        target = Path(folder) / path
        write_model(Opened.of(model, tokenizer), name, target, *dtype)
        if kind in ("hf-bin", "hf-shards"):
            _as_pytorch(target, num_shards=1 if kind == "hf-bin" else 2)
        elif kind == "onnx":
            _as_onnx(target, model)
        files = {str(file.relative_to(folder)): file.read_bytes() for file in Path(folder).rglob("*") if file.is_file()}
    return files, path


def _as_pytorch(directory: Path, num_shards: int) -> None:
    """The directory as transformers wrote it before safetensors, vocabulary in two files."""
    from safetensors.torch import load_file

    tensors = load_file(directory / "model.safetensors")
    weight_map = {name: f"pytorch_model-{i % num_shards}.bin" for i, name in enumerate(tensors)}
    for file in set(weight_map.values()):
        torch.save({name: tensors[name] for name in tensors if weight_map[name] == file}, directory / file)
    if num_shards == 1:
        (directory / "pytorch_model-0.bin").rename(directory / "pytorch_model.bin")
    else:
        (directory / "pytorch_model.bin.index.json").write_text(json.dumps({"weight_map": weight_map}))
    (directory / "model.safetensors").unlink()
    (directory / "tokenizer.json").unlink()


def _as_onnx(directory: Path, model: GPT) -> None:
    """The directory as it is exported, but for what the graph computes, which no reader looks at."""
    numbers, weights = b"", []
    for name, tensor in model.state_dict().items():
        content = tensor.numpy().tobytes()
        fields = [(1, VARINT, size) for size in tensor.shape] + [(2, VARINT, 1), (8, TEXT, f"model.{name}".encode())]
        if "bias" in name:
            fields.append((9, TEXT, content))
        else:
            where = {"location": WEIGHTS, "offset": str(len(numbers)), "length": str(len(content))}
            pairs = [message([(1, TEXT, k.encode()), (2, TEXT, v.encode())]) for k, v in where.items()]
            fields += [(13, TEXT, pair) for pair in pairs]
            numbers += content
        weights.append((5, TEXT, message(fields)))
    (directory / MODEL).write_bytes(message([(1, VARINT, 10), (7, TEXT, message(weights))]))
    (directory / WEIGHTS).write_bytes(numbers)
    (directory / "model.safetensors").unlink()
