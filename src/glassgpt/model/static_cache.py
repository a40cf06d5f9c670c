"""A cache whose addresses and lengths stay where they are, so that a recorded step can be replayed.

It is a second view of an ordinary Cache: the same keys and values, but how many tokens a row holds is a tensor on the
device, and no number of a step is known to Python. The twin is the Cache itself.

B batch, T new tokens, S capacity, H heads, D head_dim
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from glassgpt.model.cache import Cache

Store = Callable[[Tensor, Tensor, Tensor, Tensor, Tensor], None]


def store(keys: Tensor, values: Tensor, k: Tensor, v: Tensor, slots: Tensor) -> None:
    """Writes k and v (B, H, T, D) into keys and values (B, H, S, D), token t of row b at ``slots[b, t]``."""
    rows = torch.arange(len(k), device=k.device)[:, None]  # (B, 1)
    keys[rows, :, slots] = k.transpose(1, 2)  # (B, T, H, D)
    values[rows, :, slots] = v.transpose(1, 2)


class StaticLayer:
    """The keys and values of one attention layer, each (B, H, S, D)."""

    def __init__(self, cache: StaticCache, k: Tensor, v: Tensor):
        self.cache, self.k, self.v = cache, k, v

    def append(self, k: Tensor, v: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Stores k and v (B, H, T, D) after what each row holds; returns all slots and which of them are visible."""
        self.cache.store(self.k, self.v, k.detach(), v.detach(), self.cache.slots)
        return self.k, self.v, self.cache.visible


class StaticCache:
    """The rows of a Cache, for a model to read as it reads that one.

    ``lengths`` (B,) int64 are the tokens a row holds; ``advance`` (B,) is 1 where a row counts new tokens and 0 where
    it only fills the batch. A row that is full overwrites its last slot: whoever counts must discard what it says then.
    """

    def __init__(self, cache: Cache, store: Store = store):
        self.capacity, self.store = cache.capacity, store
        self.lengths = torch.tensor(cache.lengths, device=cache.device)
        self.advance = torch.ones_like(self.lengths)
        self.layers = [StaticLayer(self, layer.k, layer.v) for layer in cache.layers]
        self.slots = self.visible = torch.empty(0, device=cache.device)

    def first(self, rows: int) -> StaticCache:
        """The first rows alone, in the same memory."""
        part = object.__new__(StaticCache)
        part.capacity, part.store = self.capacity, self.store
        part.lengths, part.advance = self.lengths[:rows], self.advance[:rows]
        part.layers = [StaticLayer(part, layer.k[:rows], layer.v[:rows]) for layer in self.layers]
        part.slots, part.visible = self.slots, self.visible
        return part

    def load(self, lengths: Sequence[int], advance: Sequence[bool]) -> None:
        """Says what the first rows hold, and which of them count."""
        self.lengths[: len(lengths)] = torch.tensor(lengths)
        self.advance[: len(advance)] = torch.tensor(advance, dtype=torch.int64)

    def begin(self, T: int) -> Tensor:
        """Prepares for T new tokens a row and returns their positions (B, T)."""
        new = torch.arange(T, device=self.lengths.device)
        self.slots = (self.lengths[:, None] + new).clamp(max=self.capacity - 1)
        keys = torch.arange(self.capacity, device=self.lengths.device)
        self.visible = (keys <= self.slots[:, :, None])[:, None]  # (B, 1, T, S)
        return self.slots

    def end(self, T: int) -> None:
        """Counts the T tokens a row that every layer has appended."""
        self.lengths.add_(self.advance, alpha=T)
