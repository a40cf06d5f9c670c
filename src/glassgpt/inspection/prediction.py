"""What a training run will do on this machine: the plan's arithmetic with the pace that was measured here."""

from __future__ import annotations

import time
from dataclasses import dataclass

import torch

from glassgpt.inspection.plan import training_memory
from glassgpt.model.config import ModelConfig
from glassgpt.training.calibration import Pace, calibrate, warm_up
from glassgpt.training.config import RunConfig
from glassgpt.training.run import LOGIT_BYTES, LOGIT_ROWS, find_device, has_fused_loss


@dataclass(frozen=True)
class Prediction:
    """Speed and memory of a run in one process; seconds and bytes.

    ``process`` is what Python, torch and their libraries hold before there is a model; nothing of it is on an
    accelerator, whose memory is counted alone.
    """

    device: str
    num_layers: int
    tokens: int  # of a micro-batch
    micro_steps: int
    pace: Pace
    process: int
    training: int
    calibration_seconds: float

    @property
    def step_seconds(self) -> float:
        return self.pace.step(self.num_layers, self.tokens, self.micro_steps)

    @property
    def tokens_per_second(self) -> float:
        return self.tokens * self.micro_steps / self.step_seconds

    @property
    def memory(self) -> int:
        """The most bytes that are held at once."""
        return self.process + self.training

    @property
    def formula(self) -> str:
        """The seconds of a step with the numbers that were measured."""
        pace = self.pace
        token = f"{self.num_layers} x {pace.block * 1e6:.3g} us + {pace.ends * 1e6:.3g} us"
        micro_step = f"{pace.micro_step * 1e3:.3g} ms + {self.tokens:,} x ({token})"
        return f"{self.step_seconds:.3g} s = {self.micro_steps} x ({micro_step}) + {pace.update * 1e3:.3g} ms"


def predict(config: RunConfig, vocab_size: int) -> Prediction:
    """What a run of ``config`` with a vocabulary of that size will do here, found out in some seconds."""
    start = time.perf_counter()
    device, shape = find_device(config.device), config.model.build_config(vocab_size)
    context, micro_steps = shape.context_length, config.batch_size // config.rows
    resident = warm_up(config)
    pace = calibrate(config, vocab_size)
    parts = training_memory(
        shape, config.precision, config.rows, context, micro_steps, config.optimizer.name, logits_at_once(shape, device)
    )
    return Prediction(
        device=str(device),
        num_layers=shape.num_layers,
        tokens=config.rows * context,
        micro_steps=micro_steps,
        pace=pace,
        process=resident if device.type == "cpu" else 0,
        training=sum(parts.values()),
        calibration_seconds=time.perf_counter() - start,
    )


def logits_at_once(shape: ModelConfig, device: torch.device) -> int | None:
    """The most bytes of logits that exist at once in a run on one device; None if all of them do."""
    if not has_fused_loss(device):
        return None
    return LOGIT_BYTES if device.type == "cpu" else LOGIT_ROWS * shape.vocab_size * 2
