"""A run: one configuration, one directory, checkpoints that are models (and go on with ``resume=True``)."""

import tempfile
from pathlib import Path

import glassgpt
from glassgpt.training.config import RunConfig
from glassgpt.training.hooks import Evaluation, Event, Saved
from glassgpt.training.loop import train
from glassgpt.training.start import start

config = RunConfig.model_validate(
    {
        "name": "example",
        "steps": 30,
        "batch_size": 4,
        "data": {"sources": ["shakespeare"], "vocab_size": 512},
        "model": {"context_length": 64, "emb_dim": 64, "num_heads": 2, "num_layers": 2},
        "optimizer": {"lr": 3e-3},
        "evaluation": {"every": 10},
        "checkpoint": {"every": 10},
    }
)


def show(event: Event) -> None:
    if isinstance(event, Evaluation):
        print(f"step {event.step}: {event.val_loss:.3f} nats a token, {event.bits_per_byte:.3f} bits a byte")
    elif isinstance(event, Saved):
        print(f"step {event.step}: saved {event.path.name}")


with tempfile.TemporaryDirectory() as folder:
    directory = Path(folder) / config.name
    train(start(config, directory), directory, hooks=[show])
    print(sorted(path.name for path in directory.iterdir()))
    print(glassgpt.load(directory).generate("ROMEO:", max_new_tokens=20, seed=1))
