"""Bytes taken one value after another, and the little of Protocol Buffers that TensorFlow's checkpoints and ONNX need.

Source: https://protobuf.dev/programming-guides/encoding
"""

from __future__ import annotations

from collections.abc import Iterable

VARINT, TEXT, FIXED32 = 0, 2, 5  # the wire types that occur
MAX_FIELDS = 2**17  # of a message; a graph of GPT-2 XL has 10,000

Value = int | bytes
Field = tuple[int, Value]  # number and value; a text may be a message again


class Cursor:
    """A position in a buffer; every method takes a value there and moves on. ValueError beyond the end."""

    def __init__(self, content: bytes):
        self.content = content
        self.position = 0

    @property
    def at_end(self) -> bool:
        return self.position == len(self.content)

    def take(self, length: int) -> bytes:
        end = self.position + length
        if end > len(self.content):
            raise ValueError(f"{length:,} bytes are wanted at {self.position:,} of {len(self.content):,}")
        piece, self.position = self.content[self.position : end], end
        return piece

    def fixed32(self) -> int:
        return int.from_bytes(self.take(4), "little")

    def varint(self) -> int:
        """Seven bits a byte, the lowest first; at most 64 bits."""
        value = 0
        for shift in range(0, 64, 7):
            byte = self.take(1)[0]
            value |= (byte & 127) << shift
            if byte < 128:
                return value
        raise ValueError(f"a number of more than 64 bits ends at {self.position:,}")


def parse(message: bytes) -> list[Field]:
    """The fields of a message in order.

    Raises:
        ValueError: the message is cut off, has a field of a kind that does not occur here, or too many.
    """
    cursor, fields = Cursor(message), []
    while not cursor.at_end:
        number, kind = divmod(cursor.varint(), 8)
        if kind == VARINT:
            fields.append((number, cursor.varint()))
        elif kind == TEXT:
            fields.append((number, cursor.take(cursor.varint())))
        elif kind == FIXED32:
            fields.append((number, cursor.fixed32()))
        else:
            raise ValueError(f"a field has the wire type {kind}")
        if len(fields) > MAX_FIELDS:
            raise ValueError(f"a message has more than {MAX_FIELDS:,} fields")
    return fields


def message(fields: Iterable[tuple[int, int, Value]]) -> bytes:
    """The message of some fields: number, wire type, value. Zeros are left out, as Protocol Buffers do."""
    return b"".join(field(*each) for each in fields if each[2] != 0)


def field(number: int, kind: int, value: Value) -> bytes:
    """One field."""
    key = varint(number * 8 + kind)
    if isinstance(value, bytes):
        return key + varint(len(value)) + value
    return key + (value.to_bytes(4, "little") if kind == FIXED32 else varint(value))


def varint(value: int) -> bytes:
    """The inverse of ``Cursor.varint``."""
    content = bytearray()
    while value > 127:
        content.append(value & 127 | 128)
        value >>= 7
    return bytes([*content, value])
