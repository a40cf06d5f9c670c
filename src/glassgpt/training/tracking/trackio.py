"""Trackio as a hook: its own database on this machine, for ``trackio show``."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stdout
from pathlib import Path

from glassgpt.training.config import RunConfig
from glassgpt.training.hooks import Event, Hook
from glassgpt.training.tracking.figures import figures

try:
    import trackio
except ImportError as error:
    raise ImportError("tracking needs the extra: pip install 'glassgpt[trackio]'") from error


@contextmanager
def track(config: RunConfig, directory: Path) -> Iterator[Hook]:
    """The hook, for as long as the run goes on; a run of the same name that is there already goes on."""

    def hook(event: Event) -> None:
        if numbers := figures(event):
            trackio.log(numbers, step=event.step)

    # It tells on stdout what it does, where only results belong.
    with redirect_stdout(sys.stderr):
        trackio.init("glassgpt", config.name, config=config.model_dump(mode="json"), resume="allow", embed=False)
    try:
        yield hook
    finally:
        with redirect_stdout(sys.stderr):
            trackio.finish()
