"""What the book's files mean: which tensors are the state dict, and whose configuration they are. Imports no torch."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from glassgpt.model.config import BOOK_KEYS, SIZES, ModelConfig
from glassgpt.tokenizer.strict_json import read_json
from glassgpt.weights.places import Place, Stored
from glassgpt.weights.safetensors_header import open_safetensors
from glassgpt.weights.torch_files import TorchFile, is_torch_file
from glassgpt.weights.untrusted import RawFile, config_of, naming

MAX_SETTINGS_BYTES = 2**20

_HEADS = {(size["emb_dim"], size["num_layers"]): size["num_heads"] for size in SIZES.values()}
_QUERY = re.compile(r"trf_blocks\.\d+\.att\.W_query\.weight")


def book_state(content: Any) -> dict[Any, Any]:
    """The state dict in what a .pth file holds: alone, or as chapter 5 saves it, beside an optimizer's."""
    state = content.get("model_state_dict", content) if isinstance(content, dict) else content
    if not isinstance(state, dict):
        raise ValueError(f"it holds a {type(state).__name__}, expected a state dict")
    return state


def open_book(path: Path) -> Stored:
    """The tensors of the book's state dict in a .pth or safetensors file."""
    if not is_torch_file(path):
        return open_safetensors(path)
    file = TorchFile(path)
    return file.stored(book_state(file.content))


def book_config(path: Path, places: Mapping[str, Place]) -> ModelConfig:
    """The configuration of the book's state dict, by the settings beside the file or else by its shapes; an output
    layer that repeats the token embedding is tied.

    Raises:
        ValueError: the tensors are not the book's, or the number of heads is nowhere said.
    """
    if "tok_emb.weight" not in places or "pos_emb.weight" not in places:
        raise ValueError(
            f"its tensors are {', '.join(list(places)[:4])} ..., the book's are called tok_emb.weight, pos_emb.weight "
            "...; for a Hugging Face model give its directory, not the file"
        )
    settings = path.with_suffix(".json")
    config = _settings(settings) if settings.is_file() else _by_shapes(places, settings)
    return config.model_copy(update={"tied_head": _is_tied(path, places)})


def _is_tied(path: Path, places: Mapping[str, Place]) -> bool:
    """Whether the output layer is the token embedding again, byte for byte."""
    token, head = places["tok_emb.weight"], places.get("out_head.weight")
    if head is None or head[1:] != token[1:]:
        return False
    return RawFile(path).repeats(token.offset, head.offset, token.end - token.offset)


def _settings(path: Path) -> ModelConfig:
    with naming(path):
        if not isinstance(book := read_json(path, MAX_SETTINGS_BYTES), dict):
            raise ValueError(f"it holds a {type(book).__name__}, expected the book's dictionary")
        return ModelConfig.from_book(book)


def _by_shapes(places: Mapping[str, Place], settings: Path) -> ModelConfig:
    token, position = places["tok_emb.weight"].shape, places["pos_emb.weight"].shape
    num_layers = sum(map(bool, map(_QUERY.fullmatch, places)))
    if len(token) != 2 or not position or (num_heads := _HEADS.get((token[1], num_layers))) is None:
        raise ValueError(
            f"{num_layers} layers of an embedding of shape {token} are no published size, so the number of heads is "
            f"unknown: write the book's dictionary ({', '.join(BOOK_KEYS)}) as JSON to {settings}"
        )
    return config_of({
        "vocab_size": token[0], "context_length": position[0], "emb_dim": token[1], "num_heads": num_heads,
        "num_layers": num_layers, "qkv_bias": "trf_blocks.0.att.W_query.bias" in places,
    })  # fmt: skip
