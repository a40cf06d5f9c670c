"""What every reader of files from elsewhere holds to: bounded reads, plain names, refusals that name the file."""

from __future__ import annotations

import os
import re
import stat
import weakref
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import ValidationError

from glassgpt.model.config import ModelConfig
from glassgpt.weights.places import Place

if TYPE_CHECKING:
    from torch import Tensor

    from glassgpt.weights.lazy import LazyTensors

PIECE = 2**20  # bytes at a time where a tensor is only looked at
LONGEST_LINE = 1000  # of a refusal, which may quote the file
MAX_TENSORS = 20_000
MAX_DIMS = 8
FLOATS = ("float32", "float16", "bfloat16", "float64")

_NAME = re.compile(r"(?!.*(\.\.|//))[A-Za-z0-9._-][A-Za-z0-9._/-]{0,255}(?<!/)")


class RawFile:
    """A regular file, open for reading; every read is checked against its length before anything is allocated.

    Raises:
        ValueError: the path is a pipe, a device or the like.
    """

    def __init__(self, path: Path):
        self.path = path
        self._fd = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        weakref.finalize(self, os.close, self._fd)
        status = os.fstat(self._fd)
        if not stat.S_ISREG(status.st_mode):
            raise ValueError(f"{path} is not a regular file")
        self.size = status.st_size

    def read(self, offset: int, length: int) -> bytearray:
        """``length`` bytes from ``offset`` on; ValueError where the file has them not all."""
        if not 0 <= offset <= offset + length <= self.size:
            raise ValueError(
                f"bytes {offset:,} to {offset + length:,} are needed, the file has {self.size:,}: "
                "it was cut off, or what it says of itself is wrong"
            )
        content = bytearray(length)
        rest = memoryview(content)
        while rest:
            count = os.preadv(self._fd, [rest], offset)
            if count == 0:
                raise ValueError(f"the file ends at byte {offset:,}: it was cut off while in use")
            offset, rest = offset + count, rest[count:]
        return content

    def tensor(self, place: Place) -> Tensor:
        """The tensor that lies there."""
        return tensor_of(self.read(place.offset, place.end - place.offset), place.shape, place.dtype)

    def repeats(self, first: int, second: int, length: int) -> bool:
        """Whether the bytes from ``first`` on are those from ``second`` on."""
        pieces = [(at, min(PIECE, length - at)) for at in range(0, 0 if first == second else length, PIECE)]
        return all(self.read(first + at, size) == self.read(second + at, size) for at, size in pieces)


def tensor_of(content: bytearray, shape: Sequence[int], dtype: str) -> Tensor:
    """These bytes as a tensor, without copying them; ``dtype`` is torch's name of it."""
    import torch  # here: whoever reads headers only need not wait for it

    return torch.frombuffer(content, dtype=getattr(torch, dtype)).reshape(tuple(shape))


@contextmanager
def naming(path: Path) -> Iterator[None]:
    """Whatever is refused inside is refused in one line that names ``path``."""
    try:
        yield
    except ValueError as error:
        line = first_problem(error) if isinstance(error, ValidationError) else " ".join(str(error).split())
        line = line if len(line) <= LONGEST_LINE else f"{line[:LONGEST_LINE]} ..."
        raise ValueError(line if str(path) in line else f"{path}: {line}") from error


def printable(text: str) -> str:
    """The text with a question mark for each character that a terminal would obey rather than show."""
    return "".join(character if character.isprintable() else "?" for character in text)


def first_problem(error: ValidationError) -> str:
    """The first thing pydantic found wrong, in one line."""
    first = error.errors(include_url=False)[0]
    return ": ".join(filter(None, [".".join(map(str, first["loc"])), " ".join(first["msg"].split())]))


def config_of(fields: Mapping[str, Any]) -> ModelConfig:
    """The configuration that a file describes; numbers must be numbers.

    Raises:
        ValueError: one is missing, of another type or out of range; names it.
    """
    try:
        return ModelConfig.model_validate(dict(fields), strict=True)
    except ValidationError as error:
        raise ValueError(f"its configuration cannot be: {first_problem(error)}") from None


def check_names(names: Iterable[str]) -> None:
    """Raises ValueError for a name no tensor of a model has, or for too many names."""
    for count, name in enumerate(names, 1):
        if count > MAX_TENSORS:
            raise ValueError(f"it has more than {MAX_TENSORS:,} tensors")
        if not _NAME.fullmatch(name):
            raise ValueError(f"{name[:100]!r} is no name of a tensor: expected letters, digits and . _ - /")


def check_shape(name: str, shape: Sequence[int]) -> None:
    """Raises ValueError for a shape no tensor of a model has."""
    if len(shape) > MAX_DIMS or any(size < 1 for size in shape):
        raise ValueError(f"{name} has the shape {tuple(shape[:9])}: expected up to {MAX_DIMS} sizes of at least 1")


def check_disjoint(extents: Iterable[tuple[int, int, str]]) -> None:
    """Raises ValueError where two extents (start, end, name) overlap."""
    for (_, end, first), (start, _, second) in pairwise(sorted(extents)):
        if start < end:
            raise ValueError(f"{first} and {second} overlap at byte {start:,}")


def check_floats(tensors: LazyTensors) -> None:
    """Raises ValueError for a tensor that does not hold numbers a model computes with."""
    for name, tensor in tensors.blank.items():
        if (dtype := str(tensor.dtype).removeprefix("torch.")) not in FLOATS:
            raise ValueError(f"{name} is stored as {dtype}: expected floating point")
