"""Hugging Face's model directory among the formats."""

from __future__ import annotations

from pathlib import Path

from glassgpt.weights.directory import files_of, load_config, load_tokenizer, open_weights
from glassgpt.weights.formats import Format, Opened, dtype_named, dtypes


def recognizes(path: Path) -> bool:
    return (path / "config.json").is_file()


def read(path: Path) -> Opened:
    """The model in a Hugging Face directory."""
    config, tensors = load_config(path), open_weights(path)
    return Opened("hf", config, tensors, load_tokenizer(path), {"dtypes": dtypes(tensors), "notes": []})


def write(opened: Opened, path: Path, dtype: str | None) -> None:
    """A Hugging Face directory.

    Raises:
        ValueError: the model has no tokenizer, or one with more tokens than the model.
    """
    if opened.tokenizer is None:
        raise ValueError("a Hugging Face directory holds a tokenizer, this model came without one: name it")
    path.mkdir()
    tensors = opened.tensors.to(dtype_named(dtype))
    for name, content in files_of(opened.config, tensors, opened.tokenizer).items():
        with (path / name).open("wb") as file:
            file.writelines(content)


FORMAT = Format("hf", "Hugging Face directory", recognizes, read, write, ("float32", "float16", "bfloat16"))
