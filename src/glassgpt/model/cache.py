"""Keys and values that attention has already computed, so that a model reads each token once.

The model asks the cache for positions and for what is visible; prefill, decode, chunked prefill and batches of rows of
different length are then the same code. Rows are filled from the left; row b holds ``lengths[b]`` tokens.

B batch, T new tokens, S capacity, H heads, D head_dim
"""

from __future__ import annotations

import copy
from collections.abc import Sequence

import torch
from torch import Tensor

from glassgpt.model.config import ModelConfig


class LayerCache:
    """The keys and values of one attention layer, each (B, H, S, D)."""

    def __init__(self, cache: Cache, k: Tensor, v: Tensor):
        self.cache, self.k, self.v = cache, k, v

    def append(self, k: Tensor, v: Tensor) -> tuple[Tensor, Tensor, Tensor | None]:
        """Stores k and v (B, H, T, D) after what each row holds; returns all keys, all values and the visibility.

        No gradient flows through a cache.
        """
        k, v = k.detach(), v.detach()
        lengths, T = self.cache.lengths, k.shape[2]
        if self.cache.is_level:
            start = lengths[0]
            self.k[:, :, start : start + T] = k
            self.v[:, :, start : start + T] = v
        else:
            rows, slots = self.cache.rows, self.cache.slots
            self.k[rows, :, slots] = k.transpose(1, 2)  # (B, T, H, D)
            self.v[rows, :, slots] = v.transpose(1, 2)
        end = max(lengths) + T
        return self.k[:, :, :end], self.v[:, :, :end], self.cache.visible


class Cache:
    """One LayerCache a layer and how many tokens each row holds.

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
        self.lengths = [0] * batch
        store = torch.zeros(2, config.num_layers, *shape, device=self.device, dtype=dtype)
        self.layers = [LayerCache(self, store[0, layer], store[1, layer]) for layer in range(config.num_layers)]
        self.is_level = True  # whether all rows hold the same number of tokens
        self.visible: Tensor | None = None
        self.rows = torch.arange(batch, device=self.device)[:, None]  # (B, 1)
        self.slots = torch.empty(0)

    def begin(self, T: int) -> Tensor:
        """Prepares for T new tokens a row and returns their positions, (1, T) or (B, T).

        Raises:
            ValueError: a row would hold more tokens than the cache has room for.
        """
        if max(self.lengths) + T > self.capacity:
            raise ValueError(f"{max(self.lengths)} + {T} tokens do not fit a cache of {self.capacity}")
        self.is_level = len(set(self.lengths)) == 1
        starts = self.lengths[:1] if self.is_level else self.lengths
        self.slots = torch.tensor(starts, device=self.device)[:, None] + torch.arange(T, device=self.device)
        if self.is_level and (T == 1 or starts[0] == 0):
            self.visible = None
        else:
            keys = torch.arange(max(self.lengths) + T, device=self.device)
            self.visible = (keys <= self.slots[:, :, None])[:, None]  # (B or 1, 1, T, keys)
        return self.slots

    def end(self, T: int) -> None:
        """Counts the T tokens a row that every layer has appended."""
        self.lengths = [length + T for length in self.lengths]

    def rewind(self, lengths: Sequence[int]) -> None:
        """Keeps only the first ``lengths[b]`` tokens of row b."""
        assert len(lengths) == len(self.lengths) and all(
            0 <= n <= m for n, m in zip(lengths, self.lengths, strict=True)
        )
        self.lengths = list(lengths)

    def keep(self, rows: Sequence[int]) -> None:
        """Drops all rows but these, in this order."""
        self.lengths = [self.lengths[row] for row in rows]
        self.rows = self.rows[: len(rows)]
        for layer in self.layers:
            layer.k, layer.v = layer.k[rows], layer.v[rows]

    def row(self, row: int) -> Cache:
        """A cache of one row that writes into this one; its length is its own."""
        part = copy.copy(self)
        part.lengths, part.rows = [self.lengths[row]], self.rows[:1]
        part.layers = [LayerCache(part, layer.k[row : row + 1], layer.v[row : row + 1]) for layer in self.layers]
        return part
