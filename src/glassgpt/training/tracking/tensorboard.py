"""TensorBoard as a hook: curves and samples in ``<run>/tensorboard``, for ``tensorboard --logdir runs``."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from glassgpt.training.config import RunConfig
from glassgpt.training.hooks import Event, Hook, Sample
from glassgpt.training.tracking.figures import figures

try:
    from torch.utils.tensorboard import SummaryWriter
except ImportError as error:
    raise ImportError("tracking needs the extra: pip install 'glassgpt[tensorboard]'") from error


@contextmanager
def track(config: RunConfig, directory: Path) -> Iterator[Hook]:
    """The hook, for as long as the run goes on. What an interrupted run told of steps that come again is hidden."""
    writer: SummaryWriter | None = None

    def hook(event: Event) -> None:
        nonlocal writer
        if writer is None:  # only now is it known where the run goes on
            writer = SummaryWriter(directory / "tensorboard", purge_step=event.step)
            writer.add_text("config", f"```toml\n{config.toml()}```")
        for name, value in figures(event).items():
            writer.add_scalar(name, value, event.step)
        if isinstance(event, Sample):
            writer.add_text(f"sample/{event.prompt!r}", event.prompt + event.text, event.step)

    try:
        yield hook
    finally:
        if writer is not None:
            writer.close()
