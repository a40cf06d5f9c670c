"""What ``glassgpt train`` shows of a run while it goes on: the figures below the bar, samples, spikes."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

from glassgpt.cli.options import printable
from glassgpt.training.hooks import Evaluation, Event, Sample, Spike, Update


class Status:
    """A hook that keeps the figures of ``update`` up to date and prints on stderr what is worth a line of its own."""

    def __init__(self, update: Callable[..., None], directory: Path):
        self.update = update
        self.directory = directory
        self.held_out = ""

    def __call__(self, event: Event) -> None:
        if isinstance(event, Evaluation):
            self.held_out = f" val {event.val_loss:.3f}"
        elif isinstance(event, Update):
            self.update(event.step, self.figures(event))
        elif isinstance(event, Sample):
            print(f"--- step {event.step:,} ---\n{printable(event.prompt + event.text)}", file=sys.stderr, flush=True)
        elif isinstance(event, Spike):
            print(
                f"step {event.step:,}: loss {event.spike_loss:.3f} is {event.score:.1f} deviations above the median "
                f"{event.median_loss:.3f}; to see why: glassgpt replay {self.directory} --step {event.step}",
                file=sys.stderr,
                flush=True,
            )

    def figures(self, event: Update) -> str:
        mfu = "" if event.mfu is None else f" MFU {event.mfu:.1%}"
        return (
            f"loss {event.loss:.3f}{self.held_out} lr {event.lr:.1e} grad {event.grad_norm:.2f} "
            f"{event.tokens_per_second / 1000:.1f}k tok/s{mfu} {event.memory / 2**30:.2f} GiB"
        )
