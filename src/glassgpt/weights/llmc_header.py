"""The 256 integers a file of llm.c begins with, checked against its length. Imports no torch."""

from __future__ import annotations

import struct
from typing import NamedTuple

from glassgpt.model.config import ModelConfig
from glassgpt.weights.places import ITEMSIZES
from glassgpt.weights.untrusted import RawFile, config_of

LLMC_MAGIC = 20240326
LLMC_HEADER = struct.Struct("<256i")
LLMC_PADDING = 128  # rows of llm.c's token embedding are padded to a multiple of this
LLMC_VERSIONS = {3: "float32", 5: "bfloat16"}


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
