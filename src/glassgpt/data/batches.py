"""The batches of a run: which windows of the tokens step s shows, as a pure function of (seed, s, rank, world size).

There is no loader state: to resume is to ask for the next step. Knows nothing of text, models or devices.

B batch over all ranks, W ranks, A micro-steps, T tokens
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor

import numpy as np
import torch
from torch import Tensor

from glassgpt.data.order import permute
from glassgpt.data.ramp import Ramp
from glassgpt.data.shards import Shards

Batch = tuple[Tensor, Tensor]


class Windows:
    """Windows of T + 1 tokens: the T a model reads and, one further, the T it should predict.

    A window starts every T tokens, so every token is predicted once; the last up to T tokens, which fill no window,
    are left out. ``starts`` are other places to start, such as ``packing.row_starts`` finds.

    Raises:
        ValueError: the tokens do not fill one window.
    """

    def __init__(self, shards: Shards, context_length: int, starts: np.ndarray | None = None):
        if shards.num_tokens <= context_length:
            raise ValueError(
                f"{shards.files[0].path} and what follows it hold {shards.num_tokens:,} tokens, one window needs "
                f"{context_length + 1:,}: give more text or a context_length of at most {shards.num_tokens - 1:,}"
            )
        self.shards = shards
        self.context_length = context_length
        self.starts = range(0, shards.num_tokens - context_length, context_length) if starts is None else starts

    def __len__(self) -> int:
        return len(self.starts)

    def gather(self, indices: np.ndarray) -> Batch:
        """The windows of the given numbers as (tokens, targets), each (rows, T) int64.

        Raises:
            ValueError: a token is not in the vocabulary of the manifest, or a file has become shorter.
        """
        rows = np.empty((len(indices), self.context_length + 1), self.shards.dtype)
        for row, index in zip(rows, indices, strict=True):
            self.shards.read_into(row, int(self.starts[index]))
        manifest = self.shards.manifest
        if manifest and rows.size and rows.max() >= manifest.vocab_size:  # kernels would write beyond their memory
            bad = indices[rows.max(axis=1).argmax()]
            raise ValueError(
                f"window {bad} of {self.shards.files[0].path.parent} has a token {rows.max()}, the vocabulary has "
                f"{manifest.vocab_size}: a file was damaged since it was prepared, prepare the data again"
            )
        return torch.from_numpy(rows[:, :-1].astype(np.int64)), torch.from_numpy(rows[:, 1:].astype(np.int64))


class Batches:
    """The batches of training: every window once an epoch, in an order of that epoch's own.

    ``batch_size`` is B, the rows of one optimizer step over all ranks and micro-steps. Row j of step s is sample
    g = s * B + j of the run, the window at position g mod N of epoch g div N. Rank r takes the rows from r * B / W on,
    and micro-step a the rows from a * B / (W * A) on among those, so that layouts with the same B see the same samples.
    With a ``ramp``, B is what it says of the step, and s * B the rows of all steps before; ``batch_size`` is its last,
    and earlier steps have fewer micro-steps.

    Raises:
        ValueError: B is no multiple of W * A.
    """

    def __init__(
        self,
        shards: Shards,
        context_length: int,
        batch_size: int,
        seed: int,
        world_size: int = 1,
        rank: int = 0,
        accumulation: int = 1,
        starts: np.ndarray | None = None,
        ramp: Ramp | None = None,
    ):
        self.micro_size = micro_size(batch_size, ramp.first if ramp else batch_size, world_size, accumulation)
        self.windows = Windows(shards, context_length, starts)
        self.ramp = ramp or Ramp(batch_size, batch_size, 0)
        self.seed = seed
        self.rank, self.world_size = rank, world_size

    def at(self, step: int) -> Batch:
        """All rows of this rank at a step: (tokens, targets), each (B / W, T) int64."""
        size = self.ramp.at(step) // self.world_size
        return self.windows.gather(self.indices(step, self.rank * size, size))

    def micro(self, step: int, micro_step: int) -> Batch:
        """The rows of one micro-step of this rank: (tokens, targets), each (B / (W * A), T) int64."""
        first = self.rank * self.ramp.at(step) // self.world_size + micro_step * self.micro_size
        return self.windows.gather(self.indices(step, first, self.micro_size))

    def epoch(self, step: int) -> int:
        """The number of epochs completed before a step."""
        return self.ramp.before(step) // len(self.windows)

    def indices(self, step: int, first: int, count: int) -> np.ndarray:
        """The windows of rows ``first`` to ``first + count - 1`` of a step; a batch may span epochs."""
        N = len(self.windows)
        start = self.ramp.before(step) + first
        parts = []
        while count:
            epoch, position = divmod(start, N)
            length = min(count, N - position)
            parts.append(permute(self.seed, epoch, N, np.arange(position, position + length)))
            start, count = start + length, count - length
        return np.concatenate(parts)


def micro_size(batch_size: int, first_batch: int, world_size: int, accumulation: int) -> int:
    """The rows of a micro-step of one rank; the first batch is that of the ramp, or a batch as all others.

    Raises:
        ValueError: one of the two cannot be divided so.
    """
    if batch_size < 1 or batch_size % (world_size * accumulation):
        raise ValueError(
            f"a batch of {batch_size} cannot be divided over {world_size} ranks in {accumulation} micro-steps: "
            f"give a multiple of {world_size * accumulation}"
        )
    size = batch_size // (world_size * accumulation)
    if first_batch % (world_size * size):
        raise ValueError(
            f"a first batch of {first_batch} cannot be divided over {world_size} ranks in micro-steps of {size}: "
            f"give a multiple of {world_size * size}"
        )
    return size


def fixed_batches(
    shards: Shards, context_length: int, batch_size: int, num_windows: int | None = None
) -> Iterator[Batch]:
    """The same windows at every evaluation: all, or ``num_windows`` spread evenly; the last batch may be short."""
    windows = Windows(shards, context_length)
    N = len(windows)
    count = N if num_windows is None else min(num_windows, N)
    chosen = np.arange(count) * N // count
    for first in range(0, count, batch_size):
        yield windows.gather(chosen[first : first + batch_size])


class Ahead:
    """``at(step)`` that has one thread compute step + 1 meanwhile; the results are those of ``function`` itself."""

    def __init__(self, function: Callable[[int], Batch]):
        self.function = function
        self.pool = ThreadPoolExecutor(1, thread_name_prefix="batches")
        self.next: tuple[int, Future[Batch]] | None = None

    def at(self, step: int) -> Batch:
        """What ``function(step)`` returns, or raises."""
        expected, future = self.next or (None, None)
        batch = future.result() if future and step == expected else self.function(step)
        self.next = step + 1, self.pool.submit(self.function, step + 1)
        return batch

    def close(self) -> None:
        """Waits for the thread to end."""
        self.pool.shutdown()
