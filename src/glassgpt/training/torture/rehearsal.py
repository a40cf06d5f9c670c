"""A training run small enough to be killed hundreds of times: real data, model, optimizer, loop and checkpoints."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import torch

from glassgpt.data.shards import write
from glassgpt.model.keys import key
from glassgpt.tokenizer.tokenizer import Tokenizer
from glassgpt.training.config import CheckpointConfig, DataConfig, EvaluationConfig, ModelShape, RunConfig
from glassgpt.training.loop import train
from glassgpt.training.metrics import METRICS, VARYING, read
from glassgpt.training.run import Run
from glassgpt.training.torture.outcome import Outcome
from glassgpt.weights.checkpoint import Checkpoint, newest

INTERVAL = 5  # steps between checkpoints
SHAPE = ModelShape(context_length=16, emb_dim=32, num_heads=2, num_layers=2, dropout=0.1)


class Rehearsal:
    """Runs of one configuration over a few thousand random tokens, with bytes as vocabulary."""

    def __init__(self, directory: Path, seed: int, steps: int):
        self.directory = directory
        self.tokenizer = Tokenizer([bytes([value]) for value in range(256)])
        self.config = RunConfig(
            seed=seed,
            steps=steps,
            batch_size=4,
            device="cpu",
            data=DataConfig(tokenizer=str(directory)),
            model=SHAPE,
            evaluation=EvaluationConfig(every=10, windows=16),
            checkpoint=CheckpointConfig(every=INTERVAL),
        )
        random = np.random.default_rng(key("rehearsal", seed))
        shown, held_out = (random.integers(256, size=size).tolist() for size in (5000, 500))
        facts = self.tokenizer.vocab_size, self.tokenizer.eot, self.tokenizer.sha256
        write(directory / "data", {"train": [shown], "val": [held_out]}, *facts)

    def build(self) -> Run:
        """A run that has not begun."""
        return Run(self.config, self.tokenizer, self.directory / "data")

    def place(self, name: str) -> Path:
        """A new run directory."""
        (place := self.directory / name).mkdir()
        return place

    def finish(self, name: str) -> Path:
        """The directory of a run that nothing interrupts.

        Raises:
            KeyboardInterrupt: a signal did: the user's, who wants all of it to end.
        """
        place = self.place(name)
        if train(self.build(), place):
            raise KeyboardInterrupt
        return place


def disturb(outcome: Outcome, directory: Path, trials: int, go_on: Callable[[Run, Path], None]) -> None:
    """Trains with ``go_on(run, place)``, which counts what it does to the run, until there are ``trials``.

    That may take several runs; each must end as one that nobody disturbed.
    """
    seed = 0
    while outcome.trials < trials:
        seed += 1
        steps = min(400, 50 + 20 * (trials - outcome.trials))
        rehearsal = Rehearsal(directory / f"run-{seed}", seed, steps)
        whole, place = rehearsal.finish("whole"), rehearsal.place("disturbed")
        go_on(rehearsal.build(), place)
        if what := difference(whole, place):
            outcome.failures.append(f"run {seed}: {what} from an uninterrupted run")


def difference(one: Path, other: Path) -> str | None:
    """What two finished runs of one configuration do not share, bit for bit: weights, optimizer state, metrics."""
    ends = _last(one), _last(other)
    if ends[0].step != ends[1].step:
        return f"one run ended at step {ends[0].step}, the other at {ends[1].step}"
    for name in ends[0].manifest.files:
        contents = [checkpoint.read(name) for checkpoint in ends]
        if name.endswith("state.json"):
            contents = [_state(content) for content in contents]
        if contents[0] != contents[1]:
            return f"{name} of step {ends[0].step} differs"
    if _metrics(one) != _metrics(other):
        return f"{METRICS} differs"
    return None


@contextmanager
def one_thread() -> Iterator[None]:
    """Computes with one thread: a forked process has no others, and the order of sums depends on their number."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)


def _last(run: Path) -> Checkpoint:
    checkpoint = newest(run / "checkpoints")
    assert checkpoint is not None, "a finished run has a checkpoint"
    return checkpoint


def _state(content: bytes) -> dict[str, object]:
    # The name of a run is random, and the length of its log depends on how many digits its speed has. An interrupt can
    # put the last evaluation off until after the last save.
    differing = ("run_id", "log_bytes", "evaluated")
    return {name: value for name, value in json.loads(content).items() if name not in differing}


def _metrics(run: Path) -> list[dict[str, object]]:
    return [{name: value for name, value in line.items() if name not in VARYING} for line in read(run / METRICS)]
