"""The book's state dict as a file, ``model.pth`` or ``model.safetensors``, with its dictionary of settings beside it.

Neither kind of file says how many heads the model has: ``model.json`` does, or the size is a published one.
"""

from __future__ import annotations

import json
from pathlib import Path

from glassgpt.model.config import BOOK_KEYS
from glassgpt.weights.book import MASK, as_book, from_book
from glassgpt.weights.book_keys import book_config, open_book
from glassgpt.weights.files import chunks
from glassgpt.weights.formats import Format
from glassgpt.weights.lazy import LazyTensors
from glassgpt.weights.opened import Opened, dtype_named, dtypes
from glassgpt.weights.torch_writer import write_torch


def read(path: Path) -> Opened:
    """The model in a state dict of the book's GPTModel, or in ``{"model_state_dict": ...}`` as its chapter 5 saves it.

    Raises:
        ValueError: the file breaks a rule, or is no such state dict; the number of heads is nowhere said.
    """
    stored = open_book(path)
    config, theirs = book_config(path, stored.places), LazyTensors.at(stored)
    notes = ["attention masks dropped"] if any(map(MASK.fullmatch, theirs)) else []
    if config.tied_head:
        notes.append("the output layer repeats the token embedding, so it is tied to it")
    tensors = from_book(theirs, config)
    return Opened("book", config, tensors, None, {"dtypes": dtypes(tensors), "notes": notes})


def write(opened: Opened, path: Path, dtype: str | None) -> None:
    """A state dict that the book's ``GPTModel(settings)`` loads; ``settings`` are written beside it as JSON.

    Raises:
        ValueError: the file is called neither .pth nor .safetensors, or the book cannot express the model.
    """
    if opened.config.norm_eps != 1e-5:
        raise ValueError(f"the book normalises with epsilon 1e-5, this model with {opened.config.norm_eps}")
    tensors = as_book(opened.tensors.to(dtype_named(dtype)), opened.config)
    if path.suffix == ".safetensors":
        with path.open("wb") as file:
            file.writelines(chunks(tensors))
    elif path.suffix in (".pth", ".pt"):
        first = next(filter(MASK.fullmatch, tensors))
        same = {name: first for name in tensors if MASK.fullmatch(name) and name != first}
        write_torch(path, tensors, same | ({"out_head.weight": "tok_emb.weight"} if opened.config.tied_head else {}))
    else:
        raise ValueError(f"{path.name} ends in neither .pth nor .safetensors, which decides how it is written")
    settings = {theirs: getattr(opened.config, ours) for theirs, ours in BOOK_KEYS.items()}
    path.with_suffix(".json").write_text(json.dumps(settings, indent=2) + "\n")


FORMAT = Format("book", "the book's state dict, .pth or .safetensors", read, write, ("float32", "float16", "bfloat16"))
