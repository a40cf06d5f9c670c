"""One safetensors file as named tensors, all or as asked for, and back. Executes nothing it reads.

Written as a stream of buffers, so that a writer can hash and fsync while memory stays near one tensor. Read with
bounded reads, because the library's memory map ends the process when the file is cut while in use.
Format: https://huggingface.co/docs/safetensors
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from math import prod
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor

from glassgpt.tokenizer.strict_json import parse_json
from glassgpt.weights.lazy import LazyTensors, blank_of
from glassgpt.weights.untrusted import RawFile, check_names, check_shape

_NAMES = {
    torch.float64: "F64", torch.float32: "F32", torch.float16: "F16", torch.bfloat16: "BF16",
    torch.int64: "I64", torch.int32: "I32", torch.int16: "I16", torch.int8: "I8", torch.uint8: "U8", torch.bool: "BOOL",
}  # fmt: skip
_DTYPES = {name: dtype for dtype, name in _NAMES.items()}

MAX_HEADER_BYTES = 16 * 2**20


def chunks(tensors: Mapping[str, Tensor], metadata: Mapping[str, str] | None = None) -> Iterator[bytes | memoryview]:
    """The content of a safetensors file holding the tensors, buffer by buffer: the header, then each tensor."""
    header: dict[str, object] = {"__metadata__": {"format": "pt", **(metadata or {})}}
    offset = 0
    for name, tensor in blank_of(tensors).items():
        end = offset + tensor.numel() * tensor.element_size()
        header[name] = {"dtype": _NAMES[tensor.dtype], "shape": list(tensor.shape), "data_offsets": [offset, end]}
        offset = end
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    yield len(text).to_bytes(8, "little") + text
    for tensor in tensors.values():
        plain = tensor.detach().cpu().contiguous().reshape(-1)
        yield plain.view(torch.uint8).numpy().data


def read(path: Path) -> dict[str, Tensor]:
    """The tensors of a safetensors file.

    Raises:
        ValueError: the file is not a whole and well-formed safetensors file.
    """
    return dict(open_tensors(path))


def open_tensors(path: Path) -> LazyTensors:
    """The same, each tensor when it is asked for."""
    file = RawFile(path)
    try:
        entries = _header(file)
    except ValueError as error:
        raise ValueError(f"{path} is not a whole safetensors file ({error}): copy or download it again") from None
    blank = {name: torch.empty(entry.shape, dtype=entry.dtype, device="meta") for name, entry in entries.items()}
    return LazyTensors(blank, lambda name: file.tensor(entries[name].start, entries[name].shape, entries[name].dtype))


def is_safetensors(path: Path) -> bool:
    """Whether a path is a file that begins as safetensors files do."""
    if not path.is_file():
        return False
    with path.open("rb") as file:
        start = file.read(10)
    return 2 <= int.from_bytes(start[:8], "little") <= MAX_HEADER_BYTES and start[8:9] == b"{"


class _Entry(NamedTuple):
    """One tensor: the bytes from ``start`` up to ``end`` of the file."""

    start: int
    end: int
    shape: list[int]
    dtype: torch.dtype


def _header(file: RawFile) -> dict[str, _Entry]:
    """The tensors by name; they fill the file from the end of the header on, without gap or overlap."""
    length = int.from_bytes(file.read(0, 8), "little")
    if length > MAX_HEADER_BYTES:
        raise ValueError(f"its header of {length:,} bytes is longer than {MAX_HEADER_BYTES:,}")
    header = parse_json(bytes(file.read(8, length)))
    if not isinstance(header, dict):
        raise ValueError("its header is no JSON object")
    header.pop("__metadata__", None)
    check_names(header)
    entries = {name: _entry(name, value, 8 + length) for name, value in header.items()}
    position = 8 + length
    for name, entry in sorted(entries.items(), key=lambda item: item[1].start):
        if entry.start != position or entry.end - position != prod(entry.shape) * entry.dtype.itemsize:
            raise ValueError(f"{name} of shape {entry.shape} cannot lie from byte {entry.start:,} to {entry.end:,}")
        position = entry.end
    if position != file.size:
        raise ValueError(f"its tensors end at byte {position:,}, the file at {file.size:,}")
    return entries


def _entry(name: str, value: Any, base: int) -> _Entry:
    match value:
        case {"dtype": str(dtype), "shape": [*shape], "data_offsets": [int(start), int(end)]} if dtype in _DTYPES:
            if len(value) == 3 and all(type(number) is int for number in [start, end, *shape]):
                check_shape(name, shape)
                return _Entry(base + start, base + end, shape, _DTYPES[dtype])
    raise ValueError(f"{name} is described in a way this reader does not know")
