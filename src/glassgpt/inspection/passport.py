"""What a stored model is, from its headers alone: no weights are read, and for the usual formats no torch imported."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

from glassgpt.model.config import SIZES, ModelConfig
from glassgpt.tokenizer.strict_json import parse_json, read_json
from glassgpt.tokenizer.tokenizer import Tokenizer

MAX_HEADER_BYTES = 16 * 2**20  # of a safetensors file
MAX_CONFIG_BYTES = 2**20

Described = tuple[str, ModelConfig, dict[str, int], Tokenizer | None]  # format, shape, tensors of each dtype, tokenizer


def passport(path: Path) -> dict[str, Any]:
    """Format, shape, size, number of parameters, dtypes, vocabulary and origin of the model at ``path``.

    ``path`` is a file or directory of any format. GGUF files, Hugging Face directories and checkpoints of runs are
    described by their headers; for the others their own reader is asked, which imports torch but reads no weights.

    Raises:
        ValueError: the headers break a rule of their format, or no format here is like this.
    """
    if path.is_file() and _begins_as_gguf(path):
        form, config, dtypes, tokenizer = of_gguf(path)
    elif (path / "config.json").is_file() and not (path / "model.onnx").is_file():
        form, config, dtypes, tokenizer = of_hugging_face(path)
    else:
        form, config, dtypes, tokenizer = of_any(path)
    files = [path] if path.is_file() else [file for file in path.iterdir() if file.is_file()]
    return {
        "path": str(path),
        "format": form,
        "size": size_name(config),
        "parameters": config.num_parameters,
        "config": config.model_dump(),
        "dtypes": dtypes,
        "bytes": sum(file.stat().st_size for file in files),
        "vocabulary": None if tokenizer is None else {"tokens": tokenizer.vocab_size, "sha256": tokenizer.sha256},
        "origin": origin(path),
        "commands": commands(form, tokenizer),
    }


def size_name(config: ModelConfig) -> str | None:
    """The published size that has this width, depth, number of heads and context."""
    fields = ("emb_dim", "num_layers", "num_heads", "context_length")
    for name, size in SIZES.items():
        if all({"context_length": 1024, **size}[field] == getattr(config, field) for field in fields):
            return name
    return None


def of_gguf(path: Path) -> Described:
    from glassgpt.weights.gguf_header import read_header
    from glassgpt.weights.gguf_keys import config_from, tokenizer_from

    header = read_header(path)
    dtypes = Counter(entry.kind.name for entry in header.tensors.values())
    return "gguf", config_from(path, header), dict(dtypes), tokenizer_from(header)


def of_hugging_face(path: Path) -> Described:
    from glassgpt.weights.hugging_face_config import QUANTIZED, config_from_json

    config = config_from_json(read_json(path / "config.json", MAX_CONFIG_BYTES))
    dtypes: Counter[str] = Counter()
    for file in sorted(path.glob("*.safetensors")):
        dtypes += safetensors_dtypes(file)
    try:
        tokenizer = Tokenizer.load(path)
    except FileNotFoundError:
        tokenizer = None
    return "quantized" if (path / QUANTIZED).is_file() else "hf", config, dict(dtypes), tokenizer


def safetensors_dtypes(path: Path) -> Counter[str]:
    """How many tensors of each dtype the header of a safetensors file lists."""
    with path.open("rb") as file:
        if (length := int.from_bytes(file.read(8), "little")) > MAX_HEADER_BYTES:
            raise ValueError(f"{path} announces a header of {length:,} bytes, expected at most {MAX_HEADER_BYTES:,}")
        header = parse_json(file.read(length))
    return Counter(entry["dtype"] for name, entry in header.items() if name != "__metadata__")


def of_any(path: Path) -> Described:
    from glassgpt.weights.formats import open_model

    opened = open_model(path)
    return opened.format, opened.config, dict(Counter(opened.facts["dtypes"].values())), opened.tokenizer


def origin(path: Path) -> dict[str, Any] | None:
    """Where the weights come from: a training, as a checkpoint's manifest tells, or a conversion."""
    from glassgpt.weights.checkpoint import Checkpoint
    from glassgpt.weights.manifest import MANIFEST

    if (path / MANIFEST).is_file():
        manifest = Checkpoint.open(path.absolute()).manifest
        return {
            "kind": "training",
            "run_id": manifest.run_id,
            "step": manifest.step,
            "tokens_seen": manifest.tokens_seen,
            "loss": manifest.metrics.loss,
            "seed": manifest.seed,
            "data": manifest.data.fingerprint,
        }
    beside = path / "certificate.json" if path.is_dir() else path.with_name(f"{path.name}.certificate.json")
    if beside.is_file():
        source = read_json(beside)["source"]
        return {"kind": "conversion", "format": source["format"], "path": source["path"], "files": source["files"]}
    return None


def commands(form: str, tokenizer: Tokenizer | None) -> list[str]:
    """The commands that open a model of this format."""
    can_generate = form in ("hf", "quantized") and tokenizer is not None
    return [*(["generate"] if can_generate else []), "convert", "compare", "info"]


def _begins_as_gguf(path: Path) -> bool:
    with path.open("rb") as file:
        return file.read(4) == b"GGUF"
