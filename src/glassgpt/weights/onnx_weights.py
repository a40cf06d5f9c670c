"""Where an ONNX graph written here keeps its weights: beside it, or small ones inside. Imports neither torch nor onnx.

Of the graph only the list of weights is looked at; what it computes is not. Source: onnx.proto (ModelProto, GraphProto,
TensorProto)
"""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

from glassgpt.weights.places import Place
from glassgpt.weights.untrusted import RawFile, check_disjoint, check_names, check_shape, naming
from glassgpt.weights.wire import Cursor, Value, parse

MODEL, WEIGHTS = "model.onnx", "model.onnx.data"
MAX_GRAPH_BYTES = 64 * 2**20  # without weights; GPT-2 XL's has 6 MB

_PREFIX = "model."  # of our names, from the module that was traced
_GRAPH, _INITIALIZER = 7, 5
_DIMS, _TYPE, _NAME, _RAW, _EXTERNAL = 1, 2, 8, 9, 13
_FLOAT = 1  # TensorProto.FLOAT


class Weight(NamedTuple):
    """A weight's place in the file beside the graph, and its bytes where they are inside the graph."""

    place: Place
    inside: bytes | None


def read_weights(path: Path, beside: RawFile) -> dict[str, Weight]:
    """The weights of the graph at ``path`` by our names; ``beside`` is the file it keeps them in.

    Raises:
        ValueError: the graph is damaged, or a weight lies in another file, beyond the end of this one or in another
            weight, or is not as long as its shape says.
    """
    with naming(path):
        file = RawFile(path)
        if file.size > MAX_GRAPH_BYTES:
            raise ValueError(
                f"it has {file.size:,} bytes, expected at most {MAX_GRAPH_BYTES:,} with the weights in {WEIGHTS}"
            )
        try:
            (graph,) = _texts(bytes(file.read(0, file.size)), _GRAPH)
            tensors = _texts(graph, _INITIALIZER)
        except ValueError as error:
            raise ValueError(f"it is no ONNX model: {error}") from None
        weights = dict(_weight(tensor, beside.size) for tensor in tensors)
        ours = {name.removeprefix(_PREFIX): weight for name, weight in weights.items() if name.startswith(_PREFIX)}
        check_names(ours)
        outside = {name: weight.place for name, weight in ours.items() if weight.inside is None}
        check_disjoint((place.offset, place.end, name) for name, place in outside.items())
        return ours


def _weight(tensor: bytes, end: int) -> tuple[str, Weight]:
    """The name of a TensorProto, and where its numbers are in a file of ``end`` bytes."""
    fields = parse(tensor)
    last = dict(fields)
    name, kind, raw = _bytes(last.get(_NAME, b"")).decode("utf-8"), last.get(_TYPE), last.get(_RAW)
    shape = tuple(size for number, value in fields if number == _DIMS for size in _sizes(value))
    entries = dict(map(_entry, [_bytes(value) for number, value in fields if number == _EXTERNAL]))
    if not name.startswith(_PREFIX):
        return name, Weight(Place(0, (), "float32"), b"")  # a constant of the graph
    check_shape(name[:100], shape)
    if kind != _FLOAT:
        raise ValueError(f"{name[:100]} is stored as ONNX type {kind}, expected {_FLOAT} (float32)")
    if entries and (location := entries.get("location")) != WEIGHTS:
        raise ValueError(f"{name[:100]} lies in {location!r:.200}, expected {WEIGHTS!r}")
    place = Place(_number(entries.get("offset", "0")), shape, "float32")
    size = place.end - place.offset
    found = _number(entries["length"]) if "length" in entries else len(_bytes(raw or b""))
    if found != size:
        raise ValueError(f"{name[:100]} has {found:,} bytes, its shape {shape} takes {size:,}")
    if entries and place.end > end:
        raise ValueError(f"{name[:100]} would end at byte {place.end:,} of {end:,}: {WEIGHTS} was cut off")
    return name, Weight(place, None if entries else _bytes(raw or b""))


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
