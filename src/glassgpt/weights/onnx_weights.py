"""Where an ONNX graph written here keeps its weights: beside it, or small ones inside. Imports neither torch nor onnx.

Of the graph only the list of weights is looked at; what it computes is not. Source: onnx.proto (ModelProto, GraphProto,
TensorProto)
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from glassgpt.weights.places import Place, Stored
from glassgpt.weights.untrusted import RawFile, check_disjoint, check_names, check_shape, naming, tensor_of
from glassgpt.weights.wire import Cursor, Value, parse

if TYPE_CHECKING:
    from torch import Tensor

MODEL, WEIGHTS = "model.onnx", "model.onnx.data"
PREFIX = "model."  # of our names, from the module that is traced
MAX_GRAPH_BYTES = 64 * 2**20  # without weights; GPT-2 XL's has 6 MB

_GRAPH, _INITIALIZER = 7, 5
_DIMS, _TYPE, _NAME, _RAW, _EXTERNAL = 1, 2, 8, 9, 13
_FLOAT = 1  # TensorProto.FLOAT


def open_onnx(directory: Path) -> Stored:
    """The weights of the graph in a directory by our names.

    Raises:
        ValueError: the graph is damaged, or a weight lies in another file, beyond the end of this one or in another
            weight, or is not as long as its shape says.
    """
    beside = RawFile(directory / WEIGHTS)
    with naming(directory / MODEL):
        weights = dict(_weight(tensor, beside.size) for tensor in _initializers(directory / MODEL))
        places = {name: place for name, (place, _) in weights.items()}
        check_names(places)
        check_disjoint((place.offset, place.end, name) for name, (place, inside) in weights.items() if inside is None)

    def read(name: str) -> Tensor:
        place, inside = weights[name]
        return beside.tensor(place) if inside is None else tensor_of(bytearray(inside), place.shape, place.dtype)

    return Stored(places, read)


def _initializers(path: Path) -> list[bytes]:
    """The TensorProtos of a graph that hold weights under our names."""
    file = RawFile(path)
    if file.size > MAX_GRAPH_BYTES:
        raise ValueError(
            f"it has {file.size:,} bytes, expected at most {MAX_GRAPH_BYTES:,} with the weights in {WEIGHTS}"
        )
    try:
        graphs = _texts(bytes(file.read(0, file.size)), _GRAPH)
        tensors = _texts(b"".join(graphs), _INITIALIZER)
    except ValueError as error:
        raise ValueError(f"it is no ONNX model: {error}") from None
    prefix = PREFIX.encode()
    return [tensor for tensor in tensors if any(name.startswith(prefix) for name in _texts(tensor, _NAME))]


def _weight(tensor: bytes, end: int) -> tuple[str, tuple[Place, bytes | None]]:
    """A weight's name, its place in the file of ``end`` bytes beside the graph, and its bytes where they are inside."""
    fields = parse(tensor)
    last = dict(fields)
    name = _bytes(last[_NAME]).decode("utf-8").removeprefix(PREFIX)
    kind, inside = last.get(_TYPE), _bytes(last.get(_RAW, b""))
    shape = tuple(size for number, value in fields if number == _DIMS for size in _sizes(value))
    entries = dict(map(_entry, [_bytes(value) for number, value in fields if number == _EXTERNAL]))
    check_names([name])
    check_shape(name, shape)
    if kind != _FLOAT:
        raise ValueError(f"{name} is stored as ONNX type {kind}, expected {_FLOAT} (float32)")
    if entries and (location := entries.get("location")) != WEIGHTS:
        raise ValueError(f"{name} lies in {location!r:.200}, expected {WEIGHTS!r}")
    place = Place(_number(entries.get("offset", "0")), shape, "float32")
    size = place.end - place.offset
    if (found := _number(entries["length"]) if "length" in entries else len(inside)) != size:
        raise ValueError(f"{name} has {found:,} bytes, its shape {shape} takes {size:,}")
    if entries and place.end > end:
        raise ValueError(f"{name} would end at byte {place.end:,} of {end:,}: {WEIGHTS} was cut off")
    return name, (place, None if entries else inside)


def _texts(message: bytes, number: int) -> list[bytes]:
    """The values of a repeated field that holds messages."""
    return [_bytes(value) for found, value in parse(message) if found == number]


def _sizes(value: Value) -> list[int]:
    """Sizes, written one by one or packed into a text."""
    if isinstance(value, int):
        return [value]
    cursor, sizes = Cursor(value), []
    while not cursor.at_end and len(sizes) < 100:
        sizes.append(cursor.varint())
    return sizes


def _entry(message: bytes) -> tuple[str, str]:
    """StringStringEntryProto: 1 key, 2 value."""
    fields = dict(parse(message))
    return _bytes(fields.get(1, b"")).decode("utf-8"), _bytes(fields.get(2, b"")).decode("utf-8")


def _bytes(value: Value) -> bytes:
    if not isinstance(value, bytes):
        raise ValueError("a text of the graph is a number")
    return value


def _number(text: str) -> int:
    if not (text.isascii() and text.isdigit() and len(text) <= 19):
        raise ValueError(f"{text[:40]!r} is no number of bytes")
    return int(text)
