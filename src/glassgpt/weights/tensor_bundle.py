"""TensorFlow's checkpoint, a "tensor bundle" of version 2, read without TensorFlow. Imports no torch.

``NAME.index`` is a sorted table from each variable's name to where it lies in ``NAME.data-00000-of-00001``, which is
nothing but tensors. ``tf.train.load_checkpoint`` needs these two; a ``NAME.meta`` holds a graph and is never opened.
Source: TensorFlow's core/util/tensor_bundle and core/protobuf/tensor_bundle.proto
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from glassgpt.weights.crc32c import masked
from glassgpt.weights.places import Place, Stored
from glassgpt.weights.sorted_table import read_table
from glassgpt.weights.untrusted import RawFile, check_disjoint, check_names, check_shape, naming, tensor_of
from glassgpt.weights.wire import Field, Value, parse

if TYPE_CHECKING:
    from torch import Tensor

MAX_SHARDS = 64

# core/framework/types.proto. Integers count steps; strings describe the objects of a program.
FLOATS = {1: "float32", 19: "float16", 14: "bfloat16"}
_INT32, _STRING, _INT64 = 3, 7, 9
_OBJECTS = "_CHECKPOINTABLE_OBJECT_GRAPH"
_SUFFIX = "/.ATTRIBUTES/VARIABLE_VALUE"  # what tf.train.Checkpoint puts behind every name


@dataclass(frozen=True)
class Entry:
    """One variable: its bytes' place in a shard and their masked CRC-32C."""

    dtype: int
    shape: tuple[int, ...]
    shard: int
    offset: int
    size: int
    crc: int


class TensorBundle:
    """The checkpoint whose files begin with ``prefix``. ``skipped`` names what is no weight.

    Raises:
        FileNotFoundError: a file is missing.
        ValueError: the index breaks a rule, or does not fit the data; names the file and the key or byte.
    """

    def __init__(self, prefix: Path):
        self.index = prefix.with_name(prefix.name + ".index")
        with naming(self.index):
            items = read_table(RawFile(self.index))
            if not items or items[0][0] != b"":
                raise ValueError("it lacks the header of a checkpoint")
            num_shards = _num_shards(items[0][1])
            self.shards = [
                RawFile(prefix.with_name(f"{prefix.name}.data-{shard:05d}-of-{num_shards:05d}"))
                for shard in range(num_shards)
            ]
            entries = {key.decode("utf-8").removesuffix(_SUFFIX): _entry(key, value) for key, value in items[1:]}
            self.skipped = [name for name, entry in entries.items() if _is_no_weight(name, entry)]
            self.entries = {name: entry for name, entry in entries.items() if entry.dtype in FLOATS}
            if len(entries) < len(items) - 1:
                raise ValueError("it has a variable twice")
            check_names(self.entries)
            self.places = {name: self._place(name, entry) for name, entry in self.entries.items()}
            self._check_apart()

    def stored(self) -> Stored:
        """The variables; the CRC of each is checked when it is read."""
        return Stored(self.places, self._read)

    def _place(self, name: str, entry: Entry) -> Place:
        check_shape(name, entry.shape)
        if entry.shard >= len(self.shards):
            raise ValueError(f"{name} lies in shard {entry.shard} of {len(self.shards)}")
        place = Place(entry.offset, entry.shape, FLOATS[entry.dtype])
        if (size := place.end - place.offset) != entry.size:
            raise ValueError(f"{name} has {entry.size:,} bytes, its shape {entry.shape} takes {size:,}")
        if place.end > (shard := self.shards[entry.shard]).size:
            raise ValueError(f"{name} ends at byte {place.end:,}, {shard.path.name} has {shard.size:,}")
        return place

    def _check_apart(self) -> None:
        for number in range(len(self.shards)):
            inside = [name for name, entry in self.entries.items() if entry.shard == number]
            check_disjoint((self.places[name].offset, self.places[name].end, name) for name in inside)

    def _read(self, name: str) -> Tensor:
        entry, place = self.entries[name], self.places[name]
        shard = self.shards[entry.shard]
        with naming(shard.path):
            content = shard.read(entry.offset, entry.size)
            if masked(content) != entry.crc:
                raise ValueError(f"{name} is damaged: its CRC-32C at byte {entry.offset:,} is wrong")
        return tensor_of(content, place.shape, place.dtype)


def _num_shards(header: bytes) -> int:
    """BundleHeaderProto: 1 shards, 2 endianness (0 little), 3 version."""
    fields = _once(parse(header))
    num_shards = fields.get(1, 0)
    if not isinstance(num_shards, int) or not 1 <= num_shards <= MAX_SHARDS or fields.get(2, 0) != 0:
        raise ValueError(f"it announces {num_shards} shards, or was saved on a big-endian machine")
    return num_shards


def _entry(key: bytes, value: bytes) -> Entry:
    """BundleEntryProto: 1 dtype, 2 shape, 3 shard, 4 offset, 5 size, 6 CRC, 7 slices."""
    fields = _once(parse(value))
    numbers = [fields.get(number, 0) for number in (1, 3, 4, 5, 6)]
    shape = fields.get(2, b"")
    if fields.keys() - {1, 2, 3, 4, 5, 6} or not isinstance(shape, bytes) or not all(type(n) is int for n in numbers):
        raise ValueError(f"the entry {key[:100]!r} is in slices, or none of TensorFlow's")
    dtype, shard, offset, size, crc = (int(number) for number in numbers)
    return Entry(dtype, tuple(_sizes(shape)), shard, offset, size, crc)


def _sizes(shape: bytes) -> Iterator[int]:
    """TensorShapeProto: 2 dimension (1 size, 2 name), 3 whether the rank is unknown."""
    for number, dimension in parse(shape):
        size = _once(parse(dimension)).get(1, 0) if isinstance(dimension, bytes) else None
        if number != 2 or not isinstance(size, int):
            raise ValueError("a shape is of unknown rank")
        yield size


def _once(fields: list[Field]) -> dict[int, Value]:
    if len(unique := dict(fields)) < len(fields):
        raise ValueError("a field is there twice")
    return unique


def _is_no_weight(name: str, entry: Entry) -> bool:
    """Whether it is a counter or TensorFlow's description of objects; ValueError for anything else but weights."""
    if entry.dtype in FLOATS:
        return False
    if (entry.dtype in (_INT32, _INT64) and entry.shape == ()) or (entry.dtype == _STRING and name == _OBJECTS):
        return True
    raise ValueError(f"{name[:100]!r} is of TensorFlow's type {entry.dtype}: expected float32, float16 or bfloat16")
