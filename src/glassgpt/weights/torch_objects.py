"""What the pickle of a state dict may name and call, as descriptions: storages, tensors, ordered dictionaries.

Nothing is imported or called by the names a stream gives; the list here is what keeps code out.
Source: torch/serialization.py, torch/_utils.py
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from math import prod
from typing import Any, NamedTuple

# torch's class of storage -> torch's name of the dtype.
STORAGES = {
    "FloatStorage": "float32", "HalfStorage": "float16", "BFloat16Storage": "bfloat16", "DoubleStorage": "float64",
    "LongStorage": "int64", "IntStorage": "int32", "ShortStorage": "int16", "CharStorage": "int8",
    "ByteStorage": "uint8", "BoolStorage": "bool",
}  # fmt: skip


@dataclass(frozen=True)
class Storage:
    """A run of ``numel`` elements of one dtype, in the file's entry called ``key``."""

    key: str
    dtype: str
    numel: int


@dataclass(frozen=True)
class StoredTensor:
    """A tensor as the stream describes it: a shape over the elements of a storage from ``offset`` on, one by one."""

    storage: Storage
    offset: int
    shape: tuple[int, ...]

    @property
    def numel(self) -> int:
        return prod(self.shape)


class Global(NamedTuple):
    """A name that the stream mentions."""

    module: str
    name: str

    def __str__(self) -> str:
        return repr(f"{self.module[:100]}.{self.name[:100]}")[1:-1]


def known(name: Global) -> Global:
    """The name itself if it is one of those in a state dict, else ValueError."""
    if name in CALLS or (name.module == "torch" and name.name in STORAGES):
        return name
    raise ValueError(f"it names {name}, which is no part of a state dict and could run code: save tensors only")


def storage_of(identity: Any) -> Storage:
    """The storage of a persistent id ("storage", type, key, location, numel); the location does not matter here."""
    match identity:
        case ("storage", Global(module="torch", name=kind), str(key), str(), int(count)) if kind in STORAGES:
            if type(count) is int and 0 <= count < 2**63 and key.isascii() and key.isdigit() and len(key) <= 20:
                return Storage(key, STORAGES[kind], count)
    raise ValueError("a storage is described in a way torch.save does not use")


def _ordered_dict(arguments: tuple[Any, ...]) -> OrderedDict[Any, Any]:
    if arguments:
        raise ValueError("an OrderedDict is made with arguments")
    return OrderedDict()


def _size(arguments: tuple[Any, ...]) -> tuple[int, ...]:
    (sizes,) = arguments if len(arguments) == 1 else ((),)
    return _integers(sizes, "a size")


def _parameter(arguments: tuple[Any, ...]) -> StoredTensor:
    if len(arguments) != 3 or not isinstance(arguments[0], StoredTensor):
        raise ValueError("a parameter is described in a way torch.save does not use")
    return arguments[0]


def _tensor(arguments: tuple[Any, ...]) -> StoredTensor:
    """torch._utils._rebuild_tensor_v2(storage, offset, size, stride, requires_grad, hooks[, metadata])"""
    if len(arguments) not in (6, 7) or not isinstance(storage := arguments[0], Storage):
        raise ValueError("a tensor is described in a way torch.save does not use")
    (offset,) = _integers((arguments[1],), "an offset")
    shape, stride = _integers(arguments[2], "a shape"), _integers(arguments[3], "a stride")
    expected = tuple(prod(shape[i + 1 :]) for i in range(len(shape)))
    if len(stride) != len(shape) or any(
        a != b for a, b, size in zip(stride, expected, shape, strict=True) if size != 1
    ):
        raise ValueError(f"a tensor of shape {shape} has the stride {stride}, expected {expected}: save it contiguous")
    if offset + prod(shape) > storage.numel:
        raise ValueError(f"a tensor of shape {shape} at {offset:,} leaves its storage of {storage.numel:,} elements")
    return StoredTensor(storage, offset, shape)


def _integers(values: Any, what: str) -> tuple[int, ...]:
    if (
        not isinstance(values, tuple)
        or len(values) > 8
        or any(type(n) is not int or not 0 <= n < 2**63 for n in values)
    ):
        raise ValueError(f"{what} is no tuple of up to 8 integers")
    return values


# What may be called -> what is made in its place.
CALLS: dict[Global, Callable[[tuple[Any, ...]], Any]] = {
    Global("collections", "OrderedDict"): _ordered_dict,
    Global("torch", "Size"): _size,
    Global("torch._utils", "_rebuild_parameter"): _parameter,
    Global("torch._utils", "_rebuild_tensor_v2"): _tensor,
}
