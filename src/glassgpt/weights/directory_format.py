"""Hugging Face's model directory among the formats."""

from __future__ import annotations

from pathlib import Path

import torch

from glassgpt.weights.directory import files_of, open_weights
from glassgpt.weights.directory_files import load_config, load_settings
from glassgpt.weights.formats import Format
from glassgpt.weights.headers import tokenizer_in
from glassgpt.weights.hugging_face_config import config_to_json
from glassgpt.weights.opened import Opened, dtype_named, dtypes


def read(path: Path) -> Opened:
    """The model in a Hugging Face directory, which may lack the tokenizer."""
    config, tensors, tokenizer = load_config(path), open_weights(path), tokenizer_in(path)
    known = config_to_json(config, torch.float32, eot=None)
    ignored = sorted(load_settings(path).keys() - known.keys())
    notes = [f"ignored in config.json: {', '.join(ignored)}"] if ignored else []
    return Opened("hf", config, tensors, tokenizer, {"dtypes": dtypes(tensors), "notes": notes})


def write(opened: Opened, path: Path, dtype: str | None) -> None:
    """A Hugging Face directory.

    Raises:
        ValueError: the model has no tokenizer, or one with more tokens than the model.
    """
    if opened.tokenizer is None:
        raise ValueError(
            "a Hugging Face directory holds a tokenizer, this model came without one: name it (--tokenizer gpt2)"
        )
    path.mkdir()
    tensors = opened.tensors.to(dtype_named(dtype))
    for name, content in files_of(opened.config, tensors, opened.tokenizer).items():
        with (path / name).open("wb") as file:
            file.writelines(content)


FORMAT = Format("hf", "Hugging Face directory", read, write, ("float32", "float16", "bfloat16"))
