"""A cache whose addresses and lengths stay where they are, so that a recorded step can be replayed.

It is a second view of an ordinary Cache: the same keys and values, but which rows a pass reads and how much they hold
are tensors on the device, and no number of a step is known to Python. The twin is the Cache itself.

B rows that a pass reads, T new tokens, S capacity, H heads, D head_dim
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from glassgpt.model.cache import Cache


class StaticLayer:
    """The keys and values of one attention layer, each (rows of the Cache, H, S, D)."""

    def __init__(self, cache: StaticCache, k: Tensor, v: Tensor):
        self.cache, self.k, self.v = cache, k, v

    def append(self, k: Tensor, v: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Stores k and v (B, H, T, D) after what each row holds; returns all slots of these rows and the visibility."""
        rows, slots = self.cache.rows, self.cache.slots
        self.k[rows[:, None], :, slots] = k.detach().transpose(1, 2)  # (B, T, H, D)
        self.v[rows[:, None], :, slots] = v.detach().transpose(1, 2)
        return self.k[rows], self.v[rows], self.cache.visible


class StaticCache:
    """What a model reads in place of ``cache``, ``batch`` rows at a time: ``rows`` (B,) of them, which hold ``lengths``
    (B,) tokens, both int64.

    A row may be named several times if it is fed the same token each time. One that is full overwrites its last slot:
    whoever counts must discard what it says then.
    """

    def __init__(self, cache: Cache, batch: int, layer: type[StaticLayer] = StaticLayer):
        self.capacity = cache.capacity
        self._state = torch.zeros(2, batch, dtype=torch.int64, device=cache.device)  # one tensor: one copy fills it
        self.rows, self.lengths = self._state
        self.layers = [layer(self, plain.k, plain.v) for plain in cache.layers]
        self.slots = torch.empty(0)
        self._keys = torch.arange(self.capacity, device=cache.device)
        self._visible: Tensor | None = None

    def load(self, rows: Sequence[int], lengths: Sequence[int]) -> None:
        """Says which rows the next passes read and how much they hold."""
        self._state.copy_(torch.tensor([rows, lengths]))

    def begin(self, T: int) -> Tensor:
        """Prepares for T new tokens a row and returns their positions (B, T)."""
        self.slots = (self.lengths[:, None] + self._keys[:T]).clamp(max=self.capacity - 1)
        self._visible = None
        return self.slots

    @property
    def visible(self) -> Tensor:
        """Which slots each new token may look at, (B, 1, T, S)."""
        if self._visible is None:
            self._visible = (self._keys <= self.slots[:, :, None])[:, None]
        return self._visible

    def end(self, T: int) -> None:
        """Counts the T tokens a row that every layer has appended."""
        self.lengths.add_(T)
