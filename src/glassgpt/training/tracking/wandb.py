"""Weights & Biases as a hook, offline: nothing leaves this machine until ``wandb sync`` is told to send it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from glassgpt.training.config import RunConfig
from glassgpt.training.hooks import Event, Hook
from glassgpt.training.tracking.figures import figures

try:
    import wandb
except ImportError as error:
    raise ImportError("tracking needs the extra: pip install 'glassgpt[wandb]'") from error


@contextmanager
def track(config: RunConfig, directory: Path) -> Iterator[Hook]:
    """The hook, for as long as the run goes on; a run that is resumed becomes another one of the same group."""
    settings = wandb.Settings(silent=True, console="off", x_disable_stats=True)
    with wandb.init(
        project="glassgpt",
        group=config.name,
        dir=directory,
        config=config.model_dump(mode="json"),
        mode="offline",
        settings=settings,
    ) as run:

        def hook(event: Event) -> None:
            if numbers := figures(event):
                run.log(numbers, step=event.step)

        yield hook
