"""What a stored model is, from its headers alone: no weights are read and no torch is imported."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from glassgpt.model.config import SIZES, ModelConfig
from glassgpt.tokenizer.strict_json import read_json
from glassgpt.weights.headers import read_header

MAX_CERTIFICATE_BYTES = 2**20


def passport(path: Path) -> dict[str, Any]:
    """Format, shape, size, number of parameters, dtypes, vocabulary and origin of the model at ``path``.

    Raises:
        FileNotFoundError: there is nothing at ``path``, or a file of the model is missing.
        ValueError: the headers break a rule of their format, or no format here is like this.
    """
    form, header = read_header(path)
    config, tokenizer = header.config, header.tokenizer
    files = [path] if path.is_file() else [file for file in path.iterdir() if file.is_file()]
    return {
        "path": str(path),
        "format": form,
        "size": size_name(config),
        "parameters": config.num_parameters,
        "config": config.model_dump(),
        "dtypes": header.dtypes,
        "quantization": header.quantization,
        "bytes": sum(file.stat().st_size for file in files),
        "vocabulary": None if tokenizer is None else {"tokens": tokenizer.vocab_size, "sha256": tokenizer.sha256},
        "origin": origin(path),
        "commands": commands(form, has_tokenizer=tokenizer is not None),
    }


def size_name(config: ModelConfig) -> str | None:
    """The published size that has this width, depth, number of heads and context."""
    fields = ("emb_dim", "num_layers", "num_heads", "context_length")
    for name, size in SIZES.items():
        if all({"context_length": 1024, **size}[field] == getattr(config, field) for field in fields):
            return name
    return None


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
    return _conversion(beside) if beside.is_file() else None


def _conversion(certificate: Path) -> dict[str, Any]:
    match read_json(certificate, MAX_CERTIFICATE_BYTES):
        case {"source": {"format": str(form), "path": str(source), "files": dict(files)}}:
            return {"kind": "conversion", "format": form, "path": source, "files": files}
    raise ValueError(f"{certificate} is no certificate of a conversion: move it elsewhere")


def commands(form: str, has_tokenizer: bool) -> list[str]:
    """The commands that open a model of this format."""
    can_generate = form in ("hf", "quantized") and has_tokenizer
    return [*(["generate", "evaluate"] if can_generate else []), "convert", "compare", "info"]
