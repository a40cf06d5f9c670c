"""The book's state dict as a file, ``model.pth`` or ``model.safetensors``, with its dictionary of settings beside it.

Neither kind of file says how many heads the model has: ``model.json`` does, or the size is a published one.
"""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import torch

from glassgpt.model.config import BOOK_KEYS, SIZES, ModelConfig
from glassgpt.tokenizer.strict_json import read_json
from glassgpt.weights.book import MASK, as_book, from_book
from glassgpt.weights.files import chunks, is_safetensors, open_tensors
from glassgpt.weights.formats import Format, Opened, dtype_named, dtypes
from glassgpt.weights.lazy import LazyTensors
from glassgpt.weights.torch_files import TorchFile, is_torch_file, write_torch
from glassgpt.weights.untrusted import check_names, config_of, naming

HEADS = {(size["emb_dim"], size["num_layers"]): size["num_heads"] for size in SIZES.values()}
MAX_SETTINGS_BYTES = 2**20

_QUERY = re.compile(r"trf_blocks\.\d+\.att\.W_query\.weight")


def recognizes(path: Path) -> bool:
    """Whether it is a safetensors file (no other format here is a single one) or a .pth with the book's names."""
    if not is_torch_file(path):
        return is_safetensors(path)
    try:
        return "tok_emb.weight" in _state(TorchFile(path).content)
    except ValueError:
        return False


def read(path: Path) -> Opened:
    """The model in a state dict of the book's GPTModel, or in ``{"model_state_dict": ...}`` as its chapter 5 saves it.

    Raises:
        ValueError: the file breaks a rule, or is no such state dict; the number of heads is nowhere said.
    """
    if is_torch_file(path):
        file = TorchFile(path)
        theirs = file.tensors(_state(file.content))
    else:
        theirs = open_tensors(path)
    check_names(theirs)
    if "tok_emb.weight" not in theirs or "pos_emb.weight" not in theirs:
        raise ValueError(
            f"its tensors are {', '.join(list(theirs)[:4])} ..., the book's are called tok_emb.weight, pos_emb.weight "
            "...; for a Hugging Face model give its directory, not the file"
        )
    config = _config(path, theirs)
    if torch.equal(theirs["tok_emb.weight"], theirs.get("out_head.weight", torch.empty(0))):
        config = config.model_copy(update={"tied_head": True})
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


def _state(content: Any) -> dict[Any, Any]:
    """The state dict in a .pth file."""
    state = content.get("model_state_dict", content) if isinstance(content, dict) else content
    if not isinstance(state, dict):
        raise ValueError(f"it holds a {type(state).__name__}, expected a state dict")
    return state


def _config(path: Path, theirs: LazyTensors) -> ModelConfig:
    """The configuration, untied, by the settings beside the file or else by the shapes."""
    if (settings := path.with_suffix(".json")).is_file():
        with naming(settings):
            if not isinstance(book := read_json(settings, MAX_SETTINGS_BYTES), dict):
                raise ValueError(f"it holds a {type(book).__name__}, expected the book's dictionary")
            return ModelConfig.from_book(book)
    token, position = theirs.blank["tok_emb.weight"].shape, theirs.blank["pos_emb.weight"].shape
    num_layers = sum(map(bool, map(_QUERY.fullmatch, theirs)))
    if len(token) != 2 or (num_heads := HEADS.get((token[1], num_layers))) is None:
        raise ValueError(
            f"{num_layers} layers of an embedding of shape {tuple(token)} are no published size, so the number of "
            f"heads is unknown: write the book's dictionary ({', '.join(BOOK_KEYS)}) as JSON to {settings}"
        )
    return config_of({
        "vocab_size": token[0], "context_length": position[0], "emb_dim": token[1], "num_heads": num_heads,
        "num_layers": num_layers, "qkv_bias": "trf_blocks.0.att.W_query.bias" in theirs, "tied_head": False,
    })  # fmt: skip


FORMAT = Format(
    "book", "the book's state dict, .pth or .safetensors", recognizes, read, write, ("float32", "float16", "bfloat16")
)
