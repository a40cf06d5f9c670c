"""llm.c's model file (``gpt2_124M.bin``): a header of 256 integers, then every tensor, kind by kind over all layers.

Source: https://github.com/karpathy/llm.c, train_gpt2.py (write_model) and train_gpt2.c
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import torch

from glassgpt.model.config import ModelConfig
from glassgpt.weights.formats import Format
from glassgpt.weights.lazy import LazyTensors
from glassgpt.weights.llmc_header import LLMC_HEADER, LLMC_MAGIC, LLMC_PADDING, LLMC_VERSIONS, llmc_header
from glassgpt.weights.names import NANOGPT
from glassgpt.weights.opened import Opened, as_gpt2, dtype_named, dtypes
from glassgpt.weights.places import ITEMSIZES, Place, Stored
from glassgpt.weights.translate import blank, read_lazily, write_as, write_lazily
from glassgpt.weights.untrusted import RawFile

WTE = "transformer.wte.weight"


def read(path: Path) -> Opened:
    """The model in a file of llm.c; the padding of its vocabulary is left out.

    Raises:
        ValueError: the header is of another version, or asks for another number of bytes than the file has.
    """
    file = RawFile(path)
    version, dtype, config, padded = llmc_header(file)
    shapes = {name: tuple(tensor.shape) for name, tensor in write_as(NANOGPT, blank(config), config).items()}
    places, offset = {}, LLMC_HEADER.size
    for name in in_order(config):
        places[name] = Place(offset, shapes[name], dtype)
        rows = padded if name == WTE else shapes[name][0]
        offset = Place(offset, (rows, *shapes[name][1:]), dtype).end
    ours = read_lazily(NANOGPT, LazyTensors.at(Stored(places, lambda name: file.tensor(places[name]))), config)
    notes = [f"padded vocabulary {padded} cut to {config.vocab_size}"] if padded > config.vocab_size else []
    return Opened("llmc", config, ours, None, {"dtypes": dtypes(ours), "notes": notes, "version": version})


def write(opened: Opened, path: Path, dtype: str | None) -> None:
    """A file of llm.c, in float32 unless bfloat16 is asked for.

    Raises:
        ValueError: llm.c cannot express the model.
    """
    config, dtype = opened.config, dtype or "float32"
    tensors = write_lazily(NANOGPT, as_gpt2(opened, "llm.c", dtype_named(dtype)), config)
    padding = -config.vocab_size % LLMC_PADDING
    sizes = (config.context_length, config.vocab_size, config.num_layers, config.num_heads, config.emb_dim)
    version = next(version for version, each in LLMC_VERSIONS.items() if each == dtype)
    with path.open("wb") as file:
        file.write(LLMC_HEADER.pack(LLMC_MAGIC, version, *sizes, config.vocab_size + padding, *[0] * 248))
        for name in in_order(config):
            file.write(tensors[name].contiguous().reshape(-1).view(torch.uint8).numpy().data)
            if name == WTE:
                file.write(bytes(padding * config.emb_dim * ITEMSIZES[dtype]))


def in_order(config: ModelConfig) -> Iterator[str]:
    """The names of all tensors as they follow each other: the table's order, each of its rows over all layers."""
    for name in (name for entry in NANOGPT.values() for name in entry.names):
        if "{}" in name:
            yield from (name.format(layer) for layer in range(config.num_layers))
        elif name != "lm_head.weight":
            yield name


FORMAT = Format("llmc", "llm.c's model file, .bin", read, write, ("float32", "bfloat16"))
