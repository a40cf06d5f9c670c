"""Tensors that are read when they are asked for, so that a conversion holds one at a time. Knows no format."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping

import torch
from torch import Tensor

from glassgpt.weights.places import Stored


class LazyTensors(Mapping[str, Tensor]):
    """Named tensors behind a function that reads one. ``blank`` has their shapes and dtypes, without storage."""

    def __init__(self, blank: Mapping[str, Tensor], read: Callable[[str], Tensor]):
        self.blank = {name: torch.empty(t.shape, dtype=t.dtype, device="meta") for name, t in blank.items()}
        self._read = read

    @classmethod
    def of(cls, tensors: Mapping[str, Tensor]) -> LazyTensors:
        """Tensors that are in memory already, or lazy ones as they are."""
        return tensors if isinstance(tensors, LazyTensors) else cls(tensors, tensors.__getitem__)

    @classmethod
    def at(cls, stored: Stored) -> LazyTensors:
        """Tensors that lie in files."""
        places = stored.places.items()
        blank = {name: torch.empty(p.shape, dtype=getattr(torch, p.dtype), device="meta") for name, p in places}
        return cls(blank, stored.read)

    def __getitem__(self, name: str) -> Tensor:
        if name not in self.blank:
            raise KeyError(name)
        return self._read(name)

    def __iter__(self) -> Iterator[str]:
        return iter(self.blank)

    def __len__(self) -> int:
        return len(self.blank)

    def changed(self, change: Callable[[str, Tensor], Tensor]) -> LazyTensors:
        """The same names, each tensor sent through ``change`` when it is read."""
        blank = {name: change(name, tensor) for name, tensor in self.blank.items()}
        return LazyTensors(blank, lambda name: change(name, self[name]))

    def renamed(self, names: Mapping[str, str]) -> LazyTensors:
        """Some of the tensors under other names: ``names`` gives for each new name the old one."""
        return LazyTensors({new: self.blank[old] for new, old in names.items()}, lambda new: self[names[new]])

    def without(self, *names: str) -> LazyTensors:
        """All tensors but these."""
        return self.only(name for name in self if name not in names)

    def only(self, names: Iterable[str]) -> LazyTensors:
        """These tensors, in this order."""
        return self.renamed({name: name for name in names})

    def joined(self, more: Mapping[str, Tensor]) -> LazyTensors:
        """These tensors and more of them."""
        more = LazyTensors.of(more)
        return LazyTensors(self.blank | more.blank, lambda name: more[name] if name in more else self[name])

    def to(self, dtype: torch.dtype | None) -> LazyTensors:
        """The same tensors in one dtype; None leaves them as they are."""
        return self if dtype is None else self.changed(lambda _, tensor: tensor.to(dtype))


def blank_of(tensors: Mapping[str, Tensor]) -> Mapping[str, Tensor]:
    """Tensors to look up shapes and dtypes in, without reading lazy ones."""
    return tensors.blank if isinstance(tensors, LazyTensors) else tensors


def dtype_name(tensor: Tensor) -> str:
    """torch's name of a tensor's dtype, such as float32."""
    return str(tensor.dtype).removeprefix("torch.")
