"""The configuration as nanoGPT, llm.c, OpenAI and the book word it. Imports no torch; Hugging Face's and GGUF's wording
have files of their own."""

from __future__ import annotations

import re
import struct
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from glassgpt.model.config import BOOK_KEYS, SIZES, ModelConfig
from glassgpt.tokenizer.strict_json import read_json
from glassgpt.weights.places import ITEMSIZES, Place, Stored
from glassgpt.weights.safetensors_header import open_safetensors
from glassgpt.weights.torch_files import TorchFile, is_torch_file
from glassgpt.weights.untrusted import RawFile, config_of, naming

MAX_SETTINGS_BYTES = 2**20
MAX_CHECKPOINT_BYTES = 2**16

# nanoGPT's model_args -> ours.
NANOGPT_ARGUMENTS = {
    "vocab_size": "vocab_size",
    "block_size": "context_length",
    "n_embd": "emb_dim",
    "n_head": "num_heads",
    "n_layer": "num_layers",
    "dropout": "dropout",
    "bias": "qkv_bias",
}

# OpenAI's hparams.json -> ours.
OPENAI_HPARAMS = {
    "n_vocab": "vocab_size",
    "n_ctx": "context_length",
    "n_embd": "emb_dim",
    "n_head": "num_heads",
    "n_layer": "num_layers",
}

LLMC_MAGIC = 20240326
LLMC_HEADER = struct.Struct("<256i")
LLMC_PADDING = 128  # rows of llm.c's token embedding are padded to a multiple of this
LLMC_VERSIONS = {3: "float32", 5: "bfloat16"}

_HEADS = {(size["emb_dim"], size["num_layers"]): size["num_heads"] for size in SIZES.values()}
_PREFIX = re.compile(r'^model_checkpoint_path: "([^"]*)"$', re.MULTILINE)
_NAME = re.compile(r"(/.*/)?([A-Za-z0-9][A-Za-z0-9._-]{0,255})")
_QUERY = re.compile(r"trf_blocks\.\d+\.att\.W_query\.weight")


def nanogpt_config(arguments: Mapping[Any, Any]) -> ModelConfig:
    """The configuration of a checkpoint's ``model_args``; ValueError for what it does not know."""
    if unknown := [str(name)[:100] for name in arguments if name not in NANOGPT_ARGUMENTS]:
        raise ValueError(f"its model_args have {', '.join(unknown)}: expected {', '.join(NANOGPT_ARGUMENTS)}")
    return config_of({NANOGPT_ARGUMENTS[name]: value for name, value in arguments.items()})


def nanogpt_part(content: Any, key: str) -> dict[Any, Any]:
    """The dictionary under a key of a checkpoint."""
    if not isinstance(content, dict) or not isinstance(part := content.get(key), dict):
        keys = (
            f"a dictionary of {', '.join(repr(k)[:40] for k in list(content)[:8])}" if isinstance(content, dict) else ""
        )
        raise ValueError(f"it holds {keys or type(content).__name__}, no {key}: neither nanoGPT's nor the book's")
    return part


def openai_hparams(path: Path) -> tuple[ModelConfig, dict[str, Any]]:
    """The configuration in the ``hparams.json`` of a directory, and the file's own numbers."""
    with naming(path / "hparams.json"):
        hparams = read_json(path / "hparams.json", MAX_SETTINGS_BYTES)
        if not isinstance(hparams, dict):
            raise ValueError(
                f"it holds a {type(hparams).__name__}, expected an object with {', '.join(OPENAI_HPARAMS)}"
            )
        fields = {ours: hparams[theirs] for theirs, ours in OPENAI_HPARAMS.items() if theirs in hparams}
        return config_of(fields), hparams


def openai_prefix(path: Path) -> str:
    """The name with which the checkpoint's files begin, as the text file ``checkpoint`` of a directory has it.

    TensorFlow writes a whole path where it was given one; only its last part counts, since directories move.

    Raises:
        ValueError: it names none, or a relative path.
    """
    checkpoint = path / "checkpoint"
    with naming(checkpoint):
        file = RawFile(checkpoint)
        if file.size > MAX_CHECKPOINT_BYTES:
            raise ValueError(f"it has {file.size:,} bytes, expected a few lines")
        names = _PREFIX.findall(file.read(0, file.size).decode("utf-8"))
        if len(names) != 1 or (found := _NAME.fullmatch(names[0])) is None:
            raise ValueError(f"it has {names!r:.200} as model_checkpoint_path: expected one name in this directory")
        return found[2]


class LlmcHeader(NamedTuple):
    """What llm.c's first 256 integers say; ``padded`` is how many rows the token embedding has in the file."""

    version: int
    dtype: str
    config: ModelConfig
    padded: int


def llmc_header(file: RawFile) -> LlmcHeader:
    """The header of a file of llm.c.

    Raises:
        ValueError: it is of another version, or asks for another number of bytes than the file has.
    """
    _, version, T, V, L, H, C, padded, *rest = LLMC_HEADER.unpack(file.read(0, LLMC_HEADER.size))
    if (dtype := LLMC_VERSIONS.get(version)) is None:
        raise ValueError(f"its version is {version}, expected 3 (float32) or 5 (bfloat16): write it again with llm.c")
    if any(rest) or not V <= padded < 2**20 + LLMC_PADDING:
        raise ValueError(f"its header pads a vocabulary of {V} to {padded}, or has more numbers than llm.c writes")
    config = config_of({"vocab_size": V, "context_length": T, "emb_dim": C, "num_heads": H, "num_layers": L})
    size = LLMC_HEADER.size + (config.num_parameters + (padded - V) * C) * ITEMSIZES[dtype]
    if size != file.size:
        raise ValueError(f"it has {file.size:,} bytes, its header announces {size:,}: copy or download it again")
    return LlmcHeader(version, dtype, config, padded)


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
