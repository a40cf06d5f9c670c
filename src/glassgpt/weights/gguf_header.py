"""What a GGUF file says about itself: its keys and where each tensor lies, every number checked against the file.

Written by hand because the ``gguf`` package trusts the file: a count of 2^60 keeps its reader busy for good, tensors
may overlap, and its memory map kills the process when the file is cut. Knows nothing of models, imports no NumPy.
Format: https://github.com/ggml-org/ggml/blob/master/docs/gguf.md
"""

from __future__ import annotations

import re
import struct
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from math import prod
from pathlib import Path
from typing import Any, NamedTuple

MAX_HEADER_BYTES = 16 * 2**20  # room for a vocabulary of about 450,000 tokens
MAX_KEYS, MAX_TENSORS = 10_000, 20_000
MAX_STRING, MAX_ARRAY = 2**20, 2**20
MAX_NAME = 64
ALIGNMENTS = [2**n for n in range(3, 13)]


class Kind(NamedTuple):
    """How numbers are stored: ``elements`` of them in a block of ``bytes``."""

    name: str
    elements: int
    bytes: int


KINDS = {
    0: Kind("F32", 1, 4), 1: Kind("F16", 1, 2), 30: Kind("BF16", 1, 2), 8: Kind("Q8_0", 32, 34),
    6: Kind("Q5_0", 32, 22), 7: Kind("Q5_1", 32, 24), 2: Kind("Q4_0", 32, 18), 3: Kind("Q4_1", 32, 20),
}  # fmt: skip

_SCALARS = {0: "B", 1: "b", 2: "H", 3: "h", 4: "I", 5: "i", 6: "f", 7: "?", 10: "Q", 11: "q", 12: "d"}
_STRING, _ARRAY = 8, 9
_NAME = re.compile(r"[A-Za-z0-9._/-]+")


@dataclass(frozen=True)
class Entry:
    """One tensor in the file: its shape as PyTorch counts it, how it is stored, and its bytes' place."""

    shape: tuple[int, ...]
    kind: Kind
    offset: int
    bytes: int


@dataclass(frozen=True)
class Header:
    """The keys of a file and its tensors by name."""

    keys: dict[str, Any]
    tensors: dict[str, Entry]


def read_header(path: Path) -> Header:
    """The header of a GGUF file, version 2 or 3, little-endian. Reads at most its first 16 MiB.

    Raises:
        ValueError: the file breaks a rule of the format or a limit of this reader; names the place and the rule.
    """
    with path.open("rb") as file:
        size = file.seek(0, 2)
        file.seek(0)
        source = _Bytes(file.read(MAX_HEADER_BYTES), size)
    if source.take(4) != b"GGUF":
        raise ValueError("it does not begin with GGUF")
    if (version := source.number("I")) not in (2, 3):
        raise ValueError(f"it is of version {version}, expected 2 or 3, little-endian")
    num_tensors = source.count("tensors", MAX_TENSORS)
    num_keys = source.count("keys", MAX_KEYS)
    keys: dict[str, Any] = {}
    for _ in range(num_keys):
        key = source.string(MAX_STRING)
        if key in keys:
            raise ValueError(f"the key {key!r:.100} is there twice")
        keys[key] = source.value(source.number("I"), key)
    alignment = keys.get("general.alignment", 32)
    if type(alignment) is not int or alignment not in ALIGNMENTS:
        raise ValueError(f"the alignment is {alignment}, expected a power of two from 8 to 4096")
    entries: dict[str, Entry] = {}
    for _ in range(num_tensors):
        name, entry = _entry(source, alignment)
        if name in entries:
            raise ValueError(f"the tensor {name!r} is there twice")
        entries[name] = entry
    start = -(-source.position // alignment) * alignment
    tensors = {name: Entry(e.shape, e.kind, start + e.offset, e.bytes) for name, e in entries.items()}
    _check_places(tensors, size)
    return Header(keys, tensors)


def _entry(source: _Bytes, alignment: int) -> tuple[str, Entry]:
    """One line of the tensor table; its offset still counts from the start of the data."""
    name = source.string(MAX_NAME)
    if not _NAME.fullmatch(name):
        raise ValueError(f"{name!r} is no name of a tensor")
    if not 1 <= (num_dims := source.number("I")) <= 4:
        raise ValueError(f"{name} has {num_dims} dimensions, expected 1 to 4")
    shape = tuple(reversed(source.numbers("Q", num_dims)))
    if 0 in shape:
        raise ValueError(f"{name} has the shape {shape}: every dimension is at least 1")
    if (kind := KINDS.get(number := source.number("I"))) is None:
        raise ValueError(
            f"{name} is stored as type {number}, read are {', '.join(k.name for k in KINDS.values())}: "
            "let llama.cpp store it so (llama-quantize --allow-requantize FILE NEW F16)"
        )
    if shape[-1] % kind.elements:
        raise ValueError(f"{name} has rows of {shape[-1]}, {kind.name} stores blocks of {kind.elements}")
    if (offset := source.number("Q")) % alignment:
        raise ValueError(f"{name} starts at {offset}, which is no multiple of the alignment {alignment}")
    return name, Entry(shape, kind, offset, prod(shape) // kind.elements * kind.bytes)


def _check_places(tensors: dict[str, Entry], size: int) -> None:
    """Raises ValueError unless every tensor lies inside the file and none in another."""
    for name, entry in tensors.items():
        if (end := entry.offset + entry.bytes) > size:
            raise ValueError(f"{name} would end at byte {end:,} of a file of {size:,}: copy or download it again")
    places = sorted((entry.offset, entry.offset + entry.bytes, name) for name, entry in tensors.items())
    for (_, end, first), (start, _, second) in pairwise(places):
        if start < end:
            raise ValueError(f"{first} and {second} overlap")


class _Bytes:
    """The header's bytes, taken one value after another."""

    def __init__(self, content: bytes, size: int):
        self.content, self.size, self.position = content, size, 0

    def take(self, length: int) -> bytes:
        end = self.position + length
        if end > len(self.content):
            longest = f"its {self.size:,} bytes" if self.size == len(self.content) else f"{len(self.content):,} bytes"
            raise ValueError(f"at byte {self.position:,} the header wants {length:,} more, beyond {longest}")
        piece, self.position = self.content[self.position : end], end
        return piece

    def numbers(self, code: str, count: int) -> Sequence[Any]:
        return struct.unpack(f"<{count}{code}", self.take(count * struct.calcsize(f"<{code}")))

    def number(self, code: str) -> Any:
        return self.numbers(code, 1)[0]

    def count(self, what: str, limit: int) -> int:
        if (count := self.number("Q")) > limit:
            raise ValueError(f"it claims {count:,} {what}, more than {limit:,}")
        return count

    def string(self, limit: int) -> str:
        length = self.count("bytes of text", limit)
        start = self.position
        try:
            return self.take(length).decode()
        except UnicodeDecodeError:
            raise ValueError(f"the text at byte {start:,} is not UTF-8") from None

    def value(self, type: int, key: str) -> Any:
        if type == _STRING:
            return self.string(MAX_STRING)
        if type == _ARRAY:
            element, count = self.number("I"), self.count(f"elements of {key!r:.100}", MAX_ARRAY)
            if element == _STRING:
                return [self.string(MAX_STRING) for _ in range(count)]
            return self.numbers(self._code(element, key), count)
        return self.number(self._code(type, key))

    def _code(self, type: int, key: str) -> str:
        if type not in _SCALARS:
            raise ValueError(
                f"the key {key!r:.100} has the type {type}, which is none of a number, a text or a list of them"
            )
        return _SCALARS[type]
