"""How fast this machine trains models of one shape: its parts are timed, the rest is multiplication.

Timing whole steps would take as long as they do. One block, what lies around the blocks, and the update of both take
some seconds, and every block takes the same time as the first.

n tokens of a micro-batch, L blocks
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from glassgpt.model.config import ModelConfig
from glassgpt.model.flops import forward_flops
from glassgpt.model.gpt import GPT, initialize
from glassgpt.parallel.gradients import clip, total_norm
from glassgpt.parallel.world import World
from glassgpt.training.config import RunConfig
from glassgpt.training.loss import NextTokenLoss
from glassgpt.training.memory import resident_memory
from glassgpt.training.optimizer import Optimizer
from glassgpt.training.precision import WorkingCopy
from glassgpt.training.run import VOCAB_MULTIPLE, find_device, fused_loss, has_fused_loss, make_fast

PATIENCE = 0.4  # seconds of one measurement, at least; the first half warms up
WORK = 3e10  # FLOPs of one measurement, about: enough for full speed, a fraction of a second on any machine


@dataclass(frozen=True)
class Pace:
    """Seconds that the parts of a training step take.

    ``block`` and ``ends`` are of one token, forward and backward: in a block, and in embedding, head and loss.
    ``micro_step`` is what a micro-batch costs whatever its size, ``update`` what clipping and the optimizer cost.
    """

    block: float
    ends: float
    micro_step: float
    update: float

    def step(self, num_layers: int, tokens: int, micro_steps: int = 1) -> float:
        """Seconds of one step: micro_steps * (micro_step + n * (L * block + ends)) + update."""
        return micro_steps * (self.micro_step + tokens * self.token(num_layers)) + self.update

    def token(self, num_layers: int) -> float:
        """Seconds of one token, forward and backward."""
        return num_layers * self.block + self.ends


def calibrate(config: RunConfig, vocab_size: int) -> Pace:
    """The pace of a run of ``config`` on its device, as one process, measured in some seconds.

    The results are medians; what else the machine does meanwhile is in it.
    """
    shape = config.model.build_config(vocab_size)
    tokens = config.rows * shape.context_length
    flops = forward_flops(shape, shape.context_length)
    head = 3 * flops.pop("head")
    in_block = 3 * sum(flops.values()) / shape.num_layers
    rows = max(1, min(config.rows, int(WORK / (in_block * shape.context_length))))
    block = Part(config, shape.model_copy(update={"vocab_size": 1, "num_layers": 1}))
    long = max(2, min(tokens, int(WORK / head)))
    short = long // 2
    ends = Part(config, shape.model_copy(update={"context_length": long, "num_layers": 1}), has_block=False)
    slow, fast = ends.micro_step(1, long), ends.micro_step(1, short)
    per_token = max(0.0, slow - fast) / (long - short)
    return Pace(
        block=block.block_step(rows) / (rows * shape.context_length),
        ends=per_token,
        micro_step=max(0.0, slow - long * per_token),
        update=shape.num_layers * block.update() + ends.update(),
    )


def warm_up(config: RunConfig) -> int:
    """Trains a tiny model for a step, which loads all that training needs; returns the bytes of this process then."""
    tiny = ModelConfig(vocab_size=16, context_length=16, emb_dim=16, num_heads=1, num_layers=1)
    part = Part(config, tiny)
    part.micro_step(1, 16)
    part.update()
    return resident_memory()


class Part:
    """A model with one block, or with none, prepared as a run prepares its own, to be timed."""

    def __init__(self, config: RunConfig, shape: ModelConfig, has_block: bool = True):
        self.config, self.shape = config, shape
        self.device = find_device(config.device)
        with torch.device("meta"):
            self.model = GPT(shape)
        if not has_block:
            self.model.blocks = nn.ModuleList()
        initialize(self.model.to_empty(device=self.device), seed=0)
        is_fused = has_fused_loss(self.device)
        self.working = WorkingCopy(
            self.model,
            getattr(torch, config.precision),
            VOCAB_MULTIPLE if is_fused and self.device.type == "cuda" else 1,
        )
        make_fast(self.working.model, config, self.device)
        self.objective = fused_loss(self.working.model) if is_fused else NextTokenLoss(self.working.model)
        self.optimizer = Optimizer(self.model, config.optimizer)

    def micro_step(self, rows: int, length: int) -> float:
        """Seconds from ``rows`` windows of ``length`` tokens to their gradients."""
        tokens = torch.arange(rows * length, device=self.device).view(rows, length) % self.shape.vocab_size

        def compute() -> None:
            self.objective(tokens, tokens).backward()
            self.working.collect()

        return self.seconds(compute)

    def block_step(self, rows: int) -> float:
        """Seconds that the block alone takes, forward and backward, over ``rows`` windows."""
        [block] = self.working.model.blocks
        size = (rows, self.shape.context_length, self.shape.emb_dim)
        generator = torch.Generator(self.device).manual_seed(0)
        x = torch.randn(size, generator=generator, device=self.device).to(getattr(torch, self.config.precision))
        x.requires_grad_()
        return self.seconds(lambda: block(x, None).backward(x.detach()))

    def update(self) -> float:
        """Seconds of clipping, of the optimizer's step and of refreshing the working copy."""
        parameters = list(self.model.parameters())
        for parameter in parameters:
            parameter.grad = torch.zeros_like(parameter)

        def compute() -> None:
            clip(parameters, self.config.optimizer.clip, total_norm(parameters, World()))
            self.optimizer.step(1e-6)
            self.working.refresh()

        return self.seconds(compute)

    def seconds(self, compute: Callable[[], Tensor | None]) -> float:
        """The median time of a call, once the machine has got used to it: memory comes, clocks settle."""
        laps: list[float] = []
        while sum(laps) < PATIENCE or len(laps) < 4:
            synchronize(self.device)
            start = time.perf_counter()
            compute()
            synchronize(self.device)
            laps.append(time.perf_counter() - start)
        return statistics.median(laps[len(laps) // 2 :])


def synchronize(device: torch.device) -> None:
    """Waits until an accelerator has done what it was asked."""
    if device.type != "cpu":
        torch.accelerator.synchronize(device)
