"""llm.c's model file (``gpt2_124M.bin``): a header of 256 integers, then every tensor, kind by kind over all layers.

Source: https://github.com/karpathy/llm.c, train_gpt2.py (write_model) and train_gpt2.c
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from math import prod
from pathlib import Path

import torch

from glassgpt.model.config import ModelConfig
from glassgpt.weights.formats import Format, Opened, as_gpt2, dtype_named, dtypes
from glassgpt.weights.lazy import LazyTensors
from glassgpt.weights.names import NANOGPT
from glassgpt.weights.translate import blank, read_lazily, write_as, write_lazily
from glassgpt.weights.untrusted import RawFile, config_of

MAGIC = 20240326
VERSIONS = {3: torch.float32, 5: torch.bfloat16}
PADDING = 128  # rows of the token embedding are padded to a multiple of this
HEADER = struct.Struct("<256i")

WTE = "transformer.wte.weight"


def recognizes(path: Path) -> bool:
    if not path.is_file():
        return False
    with path.open("rb") as file:
        return file.read(4) == struct.pack("<i", MAGIC)


def read(path: Path) -> Opened:
    """The model in a file of llm.c; the padding of its vocabulary is left out.

    Raises:
        ValueError: the header is of another version, or asks for another number of bytes than the file has.
    """
    file = RawFile(path)
    _, version, T, V, L, H, C, padded, *rest = HEADER.unpack(file.read(0, HEADER.size))
    if (dtype := VERSIONS.get(version)) is None:
        raise ValueError(f"its version is {version}, expected 3 (float32) or 5 (bfloat16): write it again with llm.c")
    if any(rest) or not V <= padded < 2**20 + PADDING:
        raise ValueError(f"its header pads a vocabulary of {V} to {padded}, or has more numbers than llm.c writes")
    config = config_of({"vocab_size": V, "context_length": T, "emb_dim": C, "num_heads": H, "num_layers": L})
    size = HEADER.size + (config.num_parameters + (padded - V) * C) * dtype.itemsize
    if size != file.size:
        raise ValueError(f"it has {file.size:,} bytes, its header announces {size:,}: copy or download it again")
    blanks = write_as(NANOGPT, blank(config), config)
    places, offset = {}, HEADER.size
    for name in in_order(config):
        places[name] = offset
        rows = padded if name == WTE else len(blanks[name])
        offset += rows * prod(blanks[name].shape[1:]) * dtype.itemsize
    tensors = LazyTensors(
        {name: tensor.to(dtype) for name, tensor in blanks.items()},
        lambda name: file.tensor(places[name], blanks[name].shape, dtype),
    )
    ours = read_lazily(NANOGPT, tensors, config)
    notes = [f"padded vocabulary {padded} cut to {V}"] if padded > V else []
    return Opened("llmc", config, ours, None, {"dtypes": dtypes(ours), "notes": notes, "version": version})


def write(opened: Opened, path: Path, dtype: str | None) -> None:
    """A file of llm.c, in float32 unless bfloat16 is asked for.

    Raises:
        ValueError: llm.c cannot express the model.
    """
    config, kind = opened.config, dtype_named(dtype) or torch.float32
    tensors = write_lazily(NANOGPT, as_gpt2(opened, "llm.c", kind), config)
    padding = -config.vocab_size % PADDING
    sizes = (config.context_length, config.vocab_size, config.num_layers, config.num_heads, config.emb_dim)
    version = next(version for version, each in VERSIONS.items() if each == kind)
    with path.open("wb") as file:
        file.write(HEADER.pack(MAGIC, version, *sizes, config.vocab_size + padding, *[0] * 248))
        for name in in_order(config):
            file.write(tensors[name].contiguous().reshape(-1).view(torch.uint8).numpy().data)
            if name == WTE:
                file.write(bytes(padding * config.emb_dim * kind.itemsize))


def in_order(config: ModelConfig) -> Iterator[str]:
    """The names of all tensors as they follow each other: the table's order, each of its rows over all layers."""
    for name in (name for entry in NANOGPT.values() for name in entry.names):
        if "{}" in name:
            yield from (name.format(layer) for layer in range(config.num_layers))
        elif name != "lm_head.weight":
            yield name


FORMAT = Format("llmc", "llm.c's model file, .bin", recognizes, read, write, ("float32", "bfloat16"))
