"""What is tortured: the committing saver of this package, and the careless ones that serve as controls.

A saver writes the checkpoint of a step, a reader tells which step would be resumed. The content is a function of the
step, so a reader can compare every byte.
"""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from safetensors.numpy import save

from glassgpt.model.keys import key
from glassgpt.training.checkpoint import Checkpoints
from glassgpt.training.storage import Storage, write_file
from glassgpt.training.torture.faulty import Watched, leave_out
from glassgpt.weights.checkpoint import newest

LATER = 10**6  # a step that no trial reaches
ONE_SLOT = "checkpoint.safetensors"


@dataclass(frozen=True)
class Saver:
    """A way to save: ``save(directory, step, storage)``, and ``read(directory)``, the step that would be resumed."""

    save: Callable[[Path, int, Storage], None]
    read: Callable[[Path], int]

    def prepare(self, directory: Path) -> Path:
        """A directory in which steps 1 and 2 are saved."""
        for step in (1, 2):
            self.save(directory, step, Storage())
        return directory

    def broken(self, directory: Path, announced: int) -> str | None:
        """The promise that does not hold in a directory where step ``announced`` was saved before a fault, if any.

        The promises: that step or a later one is resumed, every byte right; and the run goes on from there.
        """
        try:
            if (step := self.read(directory)) < announced:
                return f"step {announced} was announced, step {step} is resumed"
            self.save(directory, LATER, Watched(leave_out("sync", "sync_directory")))  # no fault follows
            if (step := self.read(directory)) != LATER:
                return f"the run went on and saved step {LATER}, but step {step} is resumed"
        except (ValueError, OSError) as error:
            return str(error)
        left = [path.name for path in directory.iterdir() if path.name.startswith((".stage", ".trash"))]
        return f"{', '.join(left)} was left behind" if left else None


def commit(directory: Path, step: int, storage: Storage) -> None:
    """Saves by the commit protocol."""
    with Checkpoints(directory, storage=storage) as checkpoints:
        checkpoints.newest()
        files = {name: _pieces(data) for name, data in content(step).items()}
        checkpoints.commit(step, files, facts())


def resume(directory: Path) -> int:
    """The step of the newest checkpoint.

    Raises:
        ValueError: there is none, or its bytes are not those that were saved.
    """
    checkpoint = newest(directory)
    if checkpoint is None:
        raise ValueError("no checkpoint is left")
    for name, data in content(checkpoint.step).items():
        if checkpoint.read(name) != data:
            raise ValueError(f"{name} of step {checkpoint.step} was resumed with other bytes than were saved")
    return checkpoint.step


def overwrite(directory: Path, step: int, storage: Storage) -> None:
    """Saves as most training scripts do: one file, replaced in place."""
    directory.mkdir(parents=True, exist_ok=True)
    if (directory / ONE_SLOT).exists():
        storage.unlink(directory / ONE_SLOT)
    write_file(storage, directory / ONE_SLOT, _pieces(_one_file(step)))


def resume_overwritten(directory: Path) -> int:
    """The step of the checkpoint that ``overwrite`` left.

    Raises:
        ValueError: it is missing or incomplete.
    """
    try:
        data = (directory / ONE_SLOT).read_bytes()
    except FileNotFoundError:
        raise ValueError("no checkpoint is left") from None
    for step in (1, 2, 3, 4, LATER):
        if data == _one_file(step):
            return step
    raise ValueError("the only checkpoint cannot be read")


@cache
def content(step: int) -> dict[str, bytes]:
    """The files of a small checkpoint."""
    random = np.random.default_rng(key("torture", step))
    weights = {f"block.{i}.weight": random.standard_normal((64, 48), dtype=np.float32) for i in range(3)}
    moments = {f"exp_avg/{name}": random.standard_normal(w.shape, dtype=np.float32) for name, w in weights.items()}
    return {
        "config.json": b'{"model_type": "gpt2"}',
        "model.safetensors": save(weights),
        "training/optimizer.safetensors": save(moments),
        "training/state.json": json.dumps({"step": step}).encode(),
    }


def facts() -> dict[str, Any]:
    """The facts of a run that only saves."""
    none = hashlib.sha256(b"").hexdigest()
    return {
        "run_id": "torture",
        "epoch": 0,
        "tokens_seen": 0,
        "log_bytes": 0,
        "metrics": {"loss": 1.0, "grad_norm": 1.0},
        "seed": 0,
        "order_version": 1,
        "data": {"fingerprint": "none", "tokenizer_sha256": none, "vocab_size": 1},
        "batch": {"global": 1, "micro": 1, "accumulation": 1, "n_ctx": 1},
        "config_sha256": none,
        "env": {},
    }


COMMITTING = Saver(commit, resume)
CARELESS = Saver(overwrite, resume_overwritten)


def copy(source: Path, target: Path) -> Path:
    """``target``, made equal to the directory ``source``."""
    shutil.rmtree(target, ignore_errors=True)
    return shutil.copytree(source, target)


def _one_file(step: int) -> bytes:
    return b"".join(content(step).values())


def _pieces(data: bytes, size: int = 2**14) -> list[bytes]:
    return [data[start : start + size] for start in range(0, len(data), size)]
