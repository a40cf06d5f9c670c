"""Plain data and tensors as the pickle that ``torch.save`` would write, instruction by instruction.

Source: CPython's pickletools.py, protocol 2; torch._utils._rebuild_tensor_v2
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Iterator
from math import prod
from typing import Any

from glassgpt.weights.torch_objects import STORAGES, StoredTensor

_KINDS = {dtype: kind for kind, dtype in STORAGES.items()}


def encode(value: Any) -> bytes:
    """A pickle of dictionaries, lists, tuples, texts, numbers, None and StoredTensors; ``describe`` undoes it.

    Raises:
        TypeError: the value holds anything else.
    """
    return b"\x80\x02" + b"".join(_instructions(value)) + b"."


def _instructions(value: Any) -> Iterator[bytes]:
    match value:
        case None:
            yield b"N"
        case bool():
            yield b"\x88" if value else b"\x89"
        case int() if -(2**31) <= value < 2**31:
            yield b"J" + struct.pack("<i", value)
        case int():
            yield b"\x8a\x09" + value.to_bytes(9, "little", signed=True)
        case float():
            yield b"G" + struct.pack(">d", value)
        case str():
            text = value.encode("utf-8")
            yield b"X" + struct.pack("<I", len(text)) + text
        case StoredTensor():
            yield from _tensor(value)
        case tuple():
            yield from (b"(", *_all(value), b"t")
        case list():
            yield from (b"](", *_all(value), b"e")
        case dict():
            yield from (b"}(", *_all(part for item in value.items() for part in item), b"u")
        case _:
            raise TypeError(f"a {type(value).__name__} has no place in this pickle")


def _all(values: Iterable[Any]) -> Iterator[bytes]:
    for value in values:
        yield from _instructions(value)


def _tensor(tensor: StoredTensor) -> Iterator[bytes]:
    """_rebuild_tensor_v2(storage, offset, size, stride, requires_grad=False, hooks=OrderedDict())"""
    storage, shape = tensor.storage, tensor.shape
    stride = tuple(prod(shape[i + 1 :]) for i in range(len(shape)))
    yield b"ctorch._utils\n_rebuild_tensor_v2\n("
    yield from (b"(", *_instructions("storage"), b"ctorch\n%s\n" % _KINDS[storage.dtype].encode())
    yield from (*_all((storage.key, "cpu", storage.numel)), b"tQ")
    yield from _all((tensor.offset, shape, stride, False))
    yield b"ccollections\nOrderedDict\n)RtR"
