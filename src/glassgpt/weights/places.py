"""Where a tensor lies in a file, as a header tells. Imports no torch, so that a file can be described at once."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from math import prod
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from torch import Tensor

# torch's names of dtypes -> bytes of one number.
ITEMSIZES = {
    "float64": 8, "float32": 4, "float16": 2, "bfloat16": 2,
    "int64": 8, "int32": 4, "int16": 2, "int8": 1, "uint8": 1, "bool": 1,
}  # fmt: skip


class Place(NamedTuple):
    """A tensor's first byte, its shape, and torch's name of its dtype; its numbers follow one another."""

    offset: int
    shape: tuple[int, ...]
    dtype: str

    @property
    def end(self) -> int:
        """The byte after the last."""
        return self.offset + prod(self.shape) * ITEMSIZES[self.dtype]


class Stored(NamedTuple):
    """Tensors that lie in files: where each is, and a function that reads one, its checksum checked if it has one."""

    places: Mapping[str, Place]
    read: Callable[[str], Tensor]
