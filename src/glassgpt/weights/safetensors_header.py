"""The header of a safetensors file: which tensor lies where, every number checked against the file. Imports no torch.

Format: https://huggingface.co/docs/safetensors
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from glassgpt.tokenizer.strict_json import parse_json
from glassgpt.weights.places import Place, Stored
from glassgpt.weights.untrusted import RawFile, check_names, check_shape

MAX_HEADER_BYTES = 16 * 2**20

# torch's names of dtypes -> the format's.
NAMES = {
    "float64": "F64", "float32": "F32", "float16": "F16", "bfloat16": "BF16",
    "int64": "I64", "int32": "I32", "int16": "I16", "int8": "I8", "uint8": "U8", "bool": "BOOL",
}  # fmt: skip
_DTYPES = {name: dtype for dtype, name in NAMES.items()}


def open_safetensors(path: Path) -> Stored:
    """The tensors of a safetensors file; they fill it from the end of the header on, without gap or overlap.

    Raises:
        ValueError: the path is not a whole and well-formed safetensors file.
    """
    file = RawFile(path)
    try:
        places = _header(file)
    except ValueError as error:
        raise ValueError(f"{path} is not a whole safetensors file ({error}): copy or download it again") from None
    return Stored(places, lambda name: file.tensor(places[name]))


def is_safetensors(path: Path) -> bool:
    """Whether a path is a file that begins as safetensors files do."""
    if not path.is_file():
        return False
    with path.open("rb") as file:
        start = file.read(10)
    return 2 <= int.from_bytes(start[:8], "little") <= MAX_HEADER_BYTES and start[8:9] == b"{"


def _header(file: RawFile) -> dict[str, Place]:
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
    for name, (place, end) in sorted(entries.items(), key=lambda item: item[1][0].offset):
        if place.offset != position or place.end != end:
            raise ValueError(f"{name} of shape {list(place.shape)} cannot lie from byte {place.offset:,} to {end:,}")
        position = end
    if position != file.size:
        raise ValueError(f"its tensors end at byte {position:,}, the file at {file.size:,}")
    return {name: place for name, (place, _) in entries.items()}


def _entry(name: str, value: Any, base: int) -> tuple[Place, int]:
    """A tensor's place, and where the header says that it ends; both count from the start of the file."""
    match value:
        case {"dtype": str(dtype), "shape": [*shape], "data_offsets": [int(start), int(end)]} if dtype in _DTYPES:
            if len(value) == 3 and all(type(number) is int for number in [start, end, *shape]):
                check_shape(name, shape)
                return Place(base + start, tuple(shape), _DTYPES[dtype]), base + end
    raise ValueError(f"{name} is described in a way this reader does not know")
