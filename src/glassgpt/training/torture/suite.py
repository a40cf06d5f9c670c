"""All faults in a row: which, how often, and what came out. Knows no terminal."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

from glassgpt.training.torture.flips import damage_checkpoints, damage_tokens
from glassgpt.training.torture.full import fail_everywhere, fill_tmpfs
from glassgpt.training.torture.kills import kill_everywhere
from glassgpt.training.torture.loop_kills import kill_training
from glassgpt.training.torture.order import reorder
from glassgpt.training.torture.outcome import Outcome
from glassgpt.training.torture.poison import poison_training
from glassgpt.training.torture.power import cut_in_model, cut_on_ext4
from glassgpt.training.torture.signals import interrupt_training

# Fault -> trials of a quick run, of a full one. Where every system call is tried, the number says how often.
TRIALS = {
    kill_training: (20, 200),
    kill_everywhere: (1, 1),
    cut_in_model: (1, 10),
    cut_on_ext4: (5, 200),
    fail_everywhere: (1, 1),
    fill_tmpfs: (4, 40),
    damage_checkpoints: (500, 10_000),
    damage_tokens: (200, 2_000),
    interrupt_training: (10, 300),
    poison_training: (20, 500),
    reorder: (100, 100),
}


def torture(directory: Path, quick: bool, kills: int | None = None, seed: int = 0) -> Iterator[Outcome]:
    """The outcome of one fault after another, each in a directory of its own below ``directory``, deleted after it.

    ``kills`` is how often training is killed, if not as often as usual.
    """
    for inject, (few, many) in TRIALS.items():
        trials = few if quick else many
        if inject is kill_training and kills is not None:
            trials = kills
        place = directory / inject.__name__
        try:
            yield inject(place, trials, seed)
        finally:
            shutil.rmtree(place, ignore_errors=True)
