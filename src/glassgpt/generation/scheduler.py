"""Who runs in the next step of the engine, in which row of the cache, and how many tokens it reads. Plain Python.

Memory is a fixed number of rows, so what was admitted never has to give its place back. Rows that nobody uses still
hold what they held: a prompt that begins with the same tokens copies them instead of having the model read them again.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace

from glassgpt.generation.sequence import Sequence

WORTH_WAITING = 32  # tokens that another is about to read: a prompt that shares as many waits to copy them
LOOK_AHEAD = 4  # waiting sequences that are considered for a free row, should the first wait for such tokens


class QueueFull(RuntimeError):
    """More requests wait than are allowed to: the caller should come back later."""


@dataclass(frozen=True)
class Copy:
    """Row ``target`` is to begin with the first ``length`` tokens of row ``source``."""

    source: int
    target: int
    length: int


@dataclass(frozen=True)
class Read:
    """The model is to read the next ``count`` tokens of a sequence into its row."""

    sequence: Sequence
    row: int
    count: int


@dataclass
class Row:
    """A row of the cache: the sequence that runs in it, or what the last one left there, and when."""

    index: int
    sequence: Sequence | None = None
    left: list[int] = field(default_factory=list)
    last_used: int = 0

    @property
    def held(self) -> list[int]:
        """The tokens whose keys and values the row holds."""
        return self.left if self.sequence is None else self.sequence.window[: self.sequence.cached]


class Scheduler:
    """Sequences in the order they came, running while there are rows for them.

    ``max_step_tokens`` bounds what is read in a step: every running sequence gets its next token, the rest is for
    prompts, in pieces if need be, so that a long one delays nobody by more than one such step.

    Raises:
        ValueError: there is no row, or no room for prompts beside the running sequences.
    """

    def __init__(self, num_rows: int, max_step_tokens: int, max_waiting: int | None = None):
        if num_rows < 1:
            raise ValueError(f"{num_rows} cache rows hold no sequence: give at least 1")
        if max_step_tokens <= num_rows:
            raise ValueError(
                f"{max_step_tokens} tokens a step leave no room for prompts beside {num_rows} rows: give more than that"
            )
        self.max_step_tokens, self.max_waiting = max_step_tokens, max_waiting
        self.rows = [Row(index) for index in range(num_rows)]
        self.waiting: list[Sequence] = []
        self._clock = 0

    @property
    def running(self) -> list[Sequence]:
        return [row.sequence for row in self.rows if row.sequence is not None]

    def add(self, sequence: Sequence) -> None:
        """Queues a sequence.

        Raises:
            QueueFull: ``max_waiting`` wait already.
        """
        if self.max_waiting is not None and len(self.waiting) >= self.max_waiting:
            raise QueueFull(f"{len(self.waiting)} requests wait already, which is the limit: try again later")
        self.waiting.append(sequence)

    def remove(self, sequence: Sequence) -> None:
        """Takes a sequence out, wherever it is; its row is free at once."""
        if sequence.row is None:
            self.waiting = [other for other in self.waiting if other is not sequence]
        else:
            row = self.rows[sequence.row]
            row.left, row.sequence, sequence.row = row.held, None, None

    def admit(self) -> list[Copy]:
        """Gives free rows to waiting sequences; returns what is to be copied first, in this order."""
        copies: list[Copy] = []
        if not (free := [row for row in self.rows if row.sequence is None]):
            return copies
        for sequence in self.waiting[: LOOK_AHEAD * len(free)]:
            if not free:
                break
            source, shared = self._most_shared(sequence)
            if self._promised(sequence) < max(WORTH_WAITING, shared + 1):
                row = self._target(free, source, shared)
                free.remove(row)
                if shared:
                    copies.append(Copy(source.index, row.index, shared))
                row.sequence, sequence.row, sequence.cached = sequence, row.index, shared
        self.waiting = [sequence for sequence in self.waiting if sequence.row is None]
        return copies

    def plan(self) -> list[Read]:
        """What the running sequences read in the next step; the oldest prompts go first."""
        self._clock += 1
        reads, prompts = [], []
        for row in self.rows:
            if row.sequence is not None:
                row.last_used = self._clock
                whole = Read(row.sequence, row.index, row.sequence.num_unread)
                (reads if whole.count == 1 else prompts).append(whole)
        room = self.max_step_tokens - len(reads)
        for whole in sorted(prompts, key=lambda read: read.sequence.id):
            if count := min(whole.count, room):
                reads.append(replace(whole, count=count))
                room -= count
        return reads

    def _most_shared(self, sequence: Sequence) -> tuple[Row, int]:
        """The row that holds most of the beginning of a window, and how much. The last token has to be read anyway."""
        window = sequence.window[:-1]
        shared = [num_shared(window, row.held) for row in self.rows]
        best = max(self.rows, key=lambda row: shared[row.index])
        return best, shared[best.index]

    def _promised(self, sequence: Sequence) -> int:
        """How much of the beginning of a window is in prompts being read. A window that moved will move again."""
        window = sequence.window[:-1]
        reading = (other.window for other in self.running if other.num_unread > 1 and other.start == 0)
        return max((num_shared(window, other) for other in reading), default=0)

    def _target(self, free: list[Row], source: Row, shared: int) -> Row:
        """The free row to use: the source itself if all it holds is of use, else the one unused for longest."""
        if shared and source in free and shared == len(source.held):
            return source
        others = [row for row in free if row is not source or not shared]
        return min(others or free, key=lambda row: row.last_used)


def num_shared(a: list[int], b: list[int]) -> int:
    """How many tokens two lists have in common from the start."""
    length = min(len(a), len(b))
    if a[:length] == b[:length]:
        return length
    return next(i for i in range(length) if a[i] != b[i])
