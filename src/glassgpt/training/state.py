"""What a checkpoint holds of a run, and how a run takes it up again. Knows nothing of how checkpoints are committed.

A checkpoint is a model directory plus ``training/``: the optimizer's moments, the counters and the configuration. No
state of a random generator or of a data loader: both are functions of the step.
"""

from __future__ import annotations

import hashlib
import json
import logging
import secrets
from collections.abc import Callable, Collection, Iterable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from safetensors.torch import load
from torch import Tensor

from glassgpt.data.order import ORDER_VERSION
from glassgpt.parallel.conduct import on_main
from glassgpt.parallel.finite import first_not_finite
from glassgpt.parallel.whole import fill, gather
from glassgpt.training.checkpoint import Checkpoints
from glassgpt.training.environment import compare, env_facts
from glassgpt.training.run import Run
from glassgpt.weights.directory import files_of
from glassgpt.weights.files import chunks
from glassgpt.weights.hugging_face import from_hugging_face
from glassgpt.weights.lazy import LazyTensors

logger = logging.getLogger(__name__)

OPTIMIZER, STATE, CONFIG = "training/optimizer.safetensors", "training/state.json", "training/config.toml"


@dataclass
class Progress:
    """How far a run has come: steps taken, the step last evaluated, what the last update measured, and the length of
    ``metrics.jsonl`` at the last checkpoint. ``run_id`` tells runs of one configuration apart."""

    step: int = 0
    evaluated: int = 0
    loss: float = 0.0
    grad_norm: float = 0.0
    log_bytes: int = 0
    run_id: str = field(default_factory=lambda: secrets.token_hex(8))


def save(run: Run, progress: Progress, checkpoints: Checkpoints) -> Path:
    """Commits what the run has learnt: its main rank writes, the others hand over their parts.

    Raises:
        FloatingPointError: a weight is not finite, so this state must not replace an earlier one.
        OSError: the checkpoint could not be written.
    """
    parameters, moments = dict(run.model.named_parameters()), run.optimizer.tensors()
    if name := first_not_finite(parameters, run.world):
        raise FloatingPointError(f"step {progress.step}: {name} is not finite, nothing was saved")

    def commit(fetch: Callable[[str], Tensor]) -> str:
        state = asdict(progress) | {"updates": run.optimizer.updates}
        files: dict[str, Iterable[bytes | memoryview]] = {
            **files_of(run.model.config, LazyTensors(parameters, fetch), run.tokenizer),
            OPTIMIZER: chunks(LazyTensors(moments, fetch)),
            STATE: [json.dumps(state, allow_nan=False).encode()],
            CONFIG: [run.config.toml().encode()],
        }
        return str(checkpoints.commit(progress.step, files, checkpoint_facts(run, progress)))

    return Path(gather(run.world, parameters | moments, commit))


def checkpoint_facts(run: Run, progress: Progress) -> dict[str, Any]:
    """The fields of the manifest that say what made a checkpoint."""
    config = run.config
    return {
        "run_id": progress.run_id,
        "epoch": run.batches.epoch(progress.step),
        "tokens_seen": run.tokens_before(progress.step),
        "log_bytes": progress.log_bytes,
        "metrics": {"loss": progress.loss, "grad_norm": progress.grad_norm},
        "seed": config.seed,
        "order_version": ORDER_VERSION,
        "data": {
            "fingerprint": run.train.manifest.digest if run.train.manifest else "",
            "tokenizer_sha256": run.tokenizer.sha256,
            "vocab_size": run.tokenizer.vocab_size,
        },
        "batch": {
            "global": config.batch_size,
            "micro": run.rows,
            "accumulation": run.accumulation,
            "n_ctx": run.context_length,
        },
        "config_sha256": hashlib.sha256(run.model.config.model_dump_json().encode()).hexdigest(),
        "env": env_facts(run.device, run.dtype, run.compiled, run.world),
    }


def restore(run: Run, checkpoints: Checkpoints, allow: Collection[str] = ()) -> Progress:
    """Gives the run the weights, moments and counters of its newest checkpoint, if it has one.

    Its main rank reads, and verifies all bytes before it parses them; every rank gets its parts.

    Raises:
        ValueError: the checkpoint is damaged, beyond the last step, of another model or optimizer, or of a run that
            differs in more than the fields named in ``allow``.
    """
    found: dict[str, Tensor] = {}

    def read() -> dict[str, Any] | None:
        if (checkpoint := checkpoints.newest()) is None:
            return None
        if checkpoint.step > run.config.steps:
            raise ValueError(
                f"{checkpoints.directory.parent} has taken {checkpoint.step} steps already, steps is "
                f"{run.config.steps}: give more steps, or start another run with --name"
            )
        weights: dict[str, Tensor] = {}
        for name in checkpoint.manifest.files:
            if name.endswith(".safetensors") and name != OPTIMIZER:
                weights |= load(checkpoint.read(name))
        moments = load(checkpoint.read(OPTIMIZER))
        found.update({**from_hugging_face(weights, run.model.config), **moments})
        run.optimizer.check(moments)
        for change in compare(checkpoint.manifest, checkpoint_facts(run, Progress(step=checkpoint.step)), allow):
            logger.warning(change)
        return json.loads(checkpoint.read(STATE))

    if (state := on_main(run.world, read)) is None:
        return Progress()
    moments = run.optimizer.blank()
    fill(run.world, {**dict(run.model.named_parameters()), **moments}, found.__getitem__)
    run.working.refresh()
    run.optimizer.restore(moments, state.pop("updates"))
    return Progress(**state)
