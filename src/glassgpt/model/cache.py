"""Keys and values that attention has already computed, so that a model reads each token once.

The model asks the cache for positions and for what is visible; prefill, decode, chunked prefill and batches of rows of
different length are then the same code. Rows are filled from the left. A pass reads the selected rows, all by default.

B selected rows, T new tokens, S capacity, H heads, D head_dim
"""

from __future__ import annotations

import mmap
from collections.abc import Sequence
from math import prod

import torch
from torch import Tensor

from glassgpt.model.config import ModelConfig


class LayerCache:
    """The keys and values of one attention layer, each (rows, H, S, D)."""

    def __init__(self, cache: Cache, k: Tensor, v: Tensor):
        self.cache, self.k, self.v = cache, k, v

    def append(self, k: Tensor, v: Tensor) -> tuple[Tensor, Tensor, Tensor | None]:
        """Stores k and v (B, H, T, D) after what each row holds; returns all keys, all values and the visibility.

        No gradient flows through a cache.
        """
        cache, k, v = self.cache, k.detach(), v.detach()
        lengths, T = cache.lengths, k.shape[2]
        if cache.is_level:
            place = cache.places, slice(None), slice(lengths[0], lengths[0] + T)
            self.k[place], self.v[place] = k, v
        else:
            rows = torch.tensor(cache.rows, device=cache.device)[:, None]  # (B, 1)
            self.k[rows, :, cache.slots] = k.transpose(1, 2)  # (B, T, H, D)
            self.v[rows, :, cache.slots] = v.transpose(1, 2)
        seen = cache.places, slice(None), slice(max(lengths) + T)
        return self.k[seen], self.v[seen], cache.visible


class Cache:
    """One LayerCache a layer, how many tokens each row holds, and which rows the next pass reads.

    ``begin`` and ``end`` frame a forward pass (the model calls them); ``rewind`` forgets tokens, such as padding that
    was only there to make a batch rectangular.
    """

    def __init__(
        self,
        config: ModelConfig,
        batch: int,
        capacity: int | None = None,
        device: torch.device | str = "cpu",
        dtype: torch.dtype = torch.float32,
    ):
        self.capacity = config.context_length if capacity is None else capacity
        if self.capacity > config.context_length:
            raise ValueError(f"a cache of {capacity} tokens exceeds the context of {config.context_length}")
        self.device = torch.device(device)
        shape = (batch, config.num_heads, self.capacity, config.head_dim)
        self._store = zeros((2, config.num_layers, *shape), self.device, dtype)
        self._held = [0] * batch
        self.layers = [LayerCache(self, k, v) for k, v in zip(*self._store, strict=True)]
        self.is_level = True  # whether all selected rows hold the same number of tokens
        self.visible: Tensor | None = None
        self.slots = torch.empty(0)
        self.select(range(batch))

    def select(self, rows: Sequence[int]) -> None:
        """Makes the next passes read these rows only, in this order; ``lengths`` and ``rewind`` are theirs as well."""
        assert len(set(rows)) == len(rows) > 0
        self.rows = list(rows)
        first, last = rows[0], rows[-1] + 1
        # Neighbours are read where they lie; others are copied for PyTorch's attention, but not for the library's.
        self.places = slice(first, last) if self.rows == list(range(first, last)) else self.rows

    @property
    def lengths(self) -> list[int]:
        """How many tokens each selected row holds."""
        return [self._held[row] for row in self.rows]

    def begin(self, T: int) -> Tensor:
        """Prepares for T new tokens a row and returns their positions, (1, T) or (B, T).

        Raises:
            ValueError: a row would hold more tokens than the cache has room for.
        """
        lengths = self.lengths
        if max(lengths) + T > self.capacity:
            raise ValueError(f"{max(lengths)} + {T} tokens do not fit a cache of {self.capacity}")
        self.is_level = len(set(lengths)) == 1
        starts = lengths[:1] if self.is_level else lengths
        self.slots = torch.tensor(starts, device=self.device)[:, None] + torch.arange(T, device=self.device)
        if self.is_level and (T == 1 or starts[0] == 0):
            self.visible = None
        else:
            keys = torch.arange(max(lengths) + T, device=self.device)
            self.visible = (keys <= self.slots[:, :, None])[:, None]  # (B or 1, 1, T, keys)
        return self.slots

    def end(self, T: int) -> None:
        """Counts the T tokens a row that every layer has appended."""
        for row in self.rows:
            self._held[row] += T

    def rewind(self, lengths: Sequence[int]) -> None:
        """Keeps only the first ``lengths[b]`` tokens of the b-th selected row."""
        assert all(0 <= n <= m for n, m in zip(lengths, self.lengths, strict=True))
        for row, length in zip(self.rows, lengths, strict=True):
            self._held[row] = length

    def copy(self, source: int, target: int, length: int) -> None:
        """Makes row ``target`` hold the first ``length`` tokens of row ``source``, whichever rows are selected."""
        assert 0 <= length <= self._held[source]
        if source != target:
            self._store[:, :, target, :, :length] = self._store[:, :, source, :, :length]
        self._held[target] = length


def zeros(shape: Sequence[int], device: torch.device, dtype: torch.dtype) -> Tensor:
    """A tensor of zeros. On the CPU the system provides a page when it is first used: rows in reserve cost nothing."""
    size = prod(shape) * dtype.itemsize
    if device.type != "cpu" or size == 0:
        return torch.zeros(shape, device=device, dtype=dtype)
    return torch.frombuffer(mmap.mmap(-1, size, access=mmap.ACCESS_COPY), dtype=dtype).view(shape)
