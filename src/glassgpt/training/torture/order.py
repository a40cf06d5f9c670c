"""T13: the order of the samples, interrupted a hundred times and divided over ranks and micro-steps."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from random import Random

import numpy as np

from glassgpt.data.batches import Batches
from glassgpt.data.shards import Shards, write
from glassgpt.training.torture.outcome import Outcome, fault

CONTEXT, WINDOWS, BATCH, EPOCHS = 8, 404, 12, 3
STEPS = WINDOWS * EPOCHS // BATCH  # 101, of which two straddle epochs
LAYOUTS = [(ranks, micro_steps) for ranks in (1, 2, 4) for micro_steps in (1, 3)]

Loader = Callable[[int], np.ndarray]  # step -> the windows of the global batch, in order


@fault("T13", "sample order over 3 epochs, interrupted, on 1, 2 and 4 ranks")
def reorder(outcome: Outcome, directory: Path, trials: int, luck: Random) -> None:
    """Interrupts the loading ``trials`` times in each layout."""
    # A target names its window: the token at place i is i // CONTEXT.
    ids = [place // CONTEXT for place in range(1, WINDOWS * CONTEXT + 1)]
    write(directory, {"train": [ids]}, vocab_size=WINDOWS + 1, eot=WINDOWS, tokenizer_sha256="0" * 64)
    stops = set(luck.sample(range(1, STEPS), trials))
    expected = _order(lambda: _loader(directory, 1, 1), set())
    for layout in LAYOUTS:
        order = _order(lambda layout=layout: _loader(directory, *layout), stops)
        outcome.check(f"{layout[0]} ranks, {layout[1]} micro-steps", _broken(order, expected))
    outcome.check_control(_broken(_order(_reseeding, stops), _order(_reseeding, set())))


def _order(start: Callable[[], Loader], stops: set[int]) -> np.ndarray:
    """The windows of all steps, (EPOCHS, WINDOWS), by a loader that is started anew at each of ``stops``."""
    load, windows = start(), []
    for step in range(STEPS):
        if step in stops:
            load = start()
        windows.append(load(step))
    return np.concatenate(windows).reshape(EPOCHS, WINDOWS)


def _broken(order: np.ndarray, expected: np.ndarray) -> str | None:
    if not (order == expected).all():
        return f"{(order != expected).sum()} of {order.size} samples come at another time than without interruption"
    if not (np.sort(order) == np.arange(WINDOWS)).all():
        return "not every sample comes once in every epoch"
    return None


def _loader(directory: Path, ranks: int, micro_steps: int) -> Loader:
    shards = Shards.open(directory)
    batches = [Batches(shards, CONTEXT, BATCH, 42, ranks, rank, micro_steps) for rank in range(ranks)]

    def load(step: int) -> np.ndarray:
        parts = [rank.micro(step, micro_step) for rank in batches for micro_step in range(micro_steps)]
        return np.concatenate([targets[:, 0] for _, targets in parts])

    return load


def _reseeding() -> Loader:
    """Draws at random from a generator that every start seeds alike, as many training scripts do."""
    random = np.random.default_rng(1337)
    return lambda step: random.integers(WINDOWS, size=BATCH)
