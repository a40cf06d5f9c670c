"""What a checkpoint holds of a run, and how a run takes it up again. Knows nothing of how checkpoints are committed.

A checkpoint is a model directory plus ``training/``: the optimizer's moments, the counters and the configuration. No
state of a random generator or of a data loader: both are functions of the step.
"""

from __future__ import annotations

import hashlib
import json
import secrets
from collections.abc import Iterable
from dataclasses import asdict, dataclass, field
from typing import Any

import torch
from safetensors.torch import load

from glassgpt.data.order import ORDER_VERSION
from glassgpt.training.environment import env_facts
from glassgpt.training.run import Run
from glassgpt.weights.checkpoint import Checkpoint
from glassgpt.weights.directory import model_files
from glassgpt.weights.files import chunks
from glassgpt.weights.hugging_face import from_hugging_face

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


def checkpoint_files(run: Run, progress: Progress) -> dict[str, Iterable[bytes | memoryview]]:
    """File name -> content of a checkpoint.

    Raises:
        FloatingPointError: a weight is not finite, so this state must not replace an earlier one.
    """
    for name, parameter in run.model.named_parameters():
        if not parameter.isfinite().all():
            raise FloatingPointError(f"step {progress.step}: {name} is not finite, nothing was saved")
    state = asdict(progress) | {"updates": run.optimizer.updates}
    return {
        **model_files(run.model, run.tokenizer),
        OPTIMIZER: chunks(run.optimizer.tensors()),
        STATE: [json.dumps(state, allow_nan=False).encode()],
        CONFIG: [run.config.toml().encode()],
    }


def checkpoint_facts(run: Run, progress: Progress) -> dict[str, Any]:
    """The fields of the manifest that say what made a checkpoint."""
    config = run.config
    return {
        "run_id": progress.run_id,
        "epoch": run.batches.epoch(progress.step),
        "tokens_seen": progress.step * run.tokens_per_step,
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
            "micro": config.rows,
            "accumulation": config.batch_size // config.rows,
            "n_ctx": run.context_length,
        },
        "config_sha256": hashlib.sha256(run.model.config.model_dump_json().encode()).hexdigest(),
        "env": env_facts(run.device, run.dtype, config.compile),
    }


def restore(run: Run, checkpoint: Checkpoint) -> Progress:
    """Gives the run the weights, moments and counters of a checkpoint; all bytes are verified before they are parsed.

    Raises:
        ValueError: the checkpoint is damaged, or of another model or optimizer.
    """
    weights: dict[str, torch.Tensor] = {}
    for name in checkpoint.manifest.files:
        if name.endswith(".safetensors") and name != OPTIMIZER:
            weights |= load(checkpoint.read(name))
    run.model.load_state_dict(from_hugging_face(weights, run.model.config))
    run.working.refresh()
    state = json.loads(checkpoint.read(STATE))
    run.optimizer.restore(load(checkpoint.read(OPTIMIZER)), state.pop("updates"))
    return Progress(**state)
