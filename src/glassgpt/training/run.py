"""The parts of one run, put together in plain sight: data, model, precision, compilation, objective, optimizer."""

from __future__ import annotations

from functools import cached_property, partial
from importlib.util import find_spec
from pathlib import Path
from typing import cast

import torch
from torch import nn

from glassgpt.data.batches import Batch, Batches, micro_size
from glassgpt.data.shards import Shards
from glassgpt.kernels import onednn
from glassgpt.kernels import training as training_kernels
from glassgpt.model.flops import training_flops
from glassgpt.model.gpt import GPT, initialize
from glassgpt.parallel.plan import parallelize
from glassgpt.parallel.precision import InPrecision
from glassgpt.parallel.whole import WholeParameters
from glassgpt.parallel.world import World
from glassgpt.tokenizer.tokenizer import Tokenizer
from glassgpt.training.config import RunConfig
from glassgpt.training.environment import device_name
from glassgpt.training.loss import ChunkedNextTokenLoss, NextTokenLoss
from glassgpt.training.optimizer import Optimizer
from glassgpt.training.precision import WorkingCopy
from glassgpt.training.utilization import Utilization
from glassgpt.training.validation import bytes_per_token

LOGIT_ROWS = 65536  # positions whose logits exist at once on a GPU: 6.6 GB of GPT-2's in bfloat16
VOCAB_MULTIPLE = 128  # of a vocabulary for which a GPU's matrix products are fast
LOGIT_BYTES = 128 * 2**20  # of logits at once on a CPU


class Run:
    """All that a step needs, built from a configuration, a tokenizer and a directory of shards.

    ``model`` holds the float32 weights, which learn; ``objective`` computes with them, on all ranks of ``world``. The
    ranks with one ``replica`` number see the same ``rows`` windows at once, and compute ``accumulation`` such
    micro-batches in a step, once its batch is full.

    Raises:
        ValueError: tokens, tokenizer, context, batch and world do not fit each other, or the device is not there.
    """

    def __init__(self, config: RunConfig, tokenizer: Tokenizer, shards: Path, world: World | None = None):
        self.config = config
        self.tokenizer = tokenizer
        self.world = world = world or World()
        self.device = find_device(config.device)
        self.dtype = getattr(torch, config.precision)

        self.train, self.held_out = Shards.open(shards, "train"), Shards.open(shards, "val")
        check_vocabulary(self.train, tokenizer)
        check_vocabulary(self.held_out, tokenizer)
        self.bytes_per_token = bytes_per_token(tokenizer, self.device)

        with torch.device("meta"):  # no rank need hold the whole model
            self.model = GPT(config.model.build_config(tokenizer.vocab_size))
        self.context_length = self.model.config.context_length
        check_length(self.held_out, self.context_length)
        self.num_replicas, self.rows, self.accumulation = layout(config, world.size)
        self.replica = world.rank // config.parallel.tensor
        self.batches = Batches(
            self.train, self.context_length, config.batch_size, config.seed,
            self.num_replicas, self.replica, self.accumulation, ramp=config.ramp,
        )  # fmt: skip

        self.working = WorkingCopy(self.model, torch.float32)  # the model itself: ranks cast what they compute with
        if config.parallel.is_divided(world.size):
            self.compile()
            self.objective = parallelize(NextTokenLoss(self.model), world, config.parallel, self.dtype)
            self.fill_model()
        else:
            self.fill_model()
            is_fused = world.size == 1 and has_fused_loss(self.device)
            if world.size == 1:
                self.working = WorkingCopy(
                    self.model, self.dtype, VOCAB_MULTIPLE if is_fused and self.device.type == "cuda" else 1
                )
            self.compile()
            objective = fused_loss(self.working.model) if is_fused else NextTokenLoss(self.working.model)
            if world.size > 1 and self.dtype != torch.float32:
                objective = InPrecision(objective, self.dtype)
            self.objective = parallelize(objective, world, config.parallel)
        self.optimizer = Optimizer(self.model, config.optimizer)

    def fill_model(self) -> None:
        """Gives the model memory and its first weights."""
        self.model.to_empty(device=self.device)
        initialize(cast(GPT, WholeParameters(self.model)), self.config.seed)
        if self.config.model.zero_residual:
            zero_residual(self.model)

    def compile(self) -> None:
        """Makes the model that computes fast."""
        is_divided = self.config.parallel.is_divided(self.world.size)
        self.compiled = make_fast(self.working.model, self.config, self.device, is_divided)

    def batch(self, step: int) -> Batch:
        """All rows of this rank at a step, in memory from which a GPU can fetch them by itself."""
        tokens, targets = self.batches.at(step)
        return (tokens.pin_memory(), targets.pin_memory()) if self.device.type == "cuda" else (tokens, targets)

    def tokens_before(self, step: int) -> int:
        """Tokens learnt from in all steps before this one."""
        return self.batches.ramp.before(step) * self.context_length

    @cached_property
    def utilization(self) -> Utilization:
        """What a token costs, and what the devices could do."""
        dtype = self.config.precision
        if dtype == "float32" and self.device.type == "cuda" and torch.get_float32_matmul_precision() != "highest":
            dtype = "tf32"  # which is several times as fast, and no rate of it is in the table
        flops = training_flops(self.model.config, self.context_length, causal=False)
        return Utilization(flops, device_name(self.device), dtype, self.world.size)

    def __str__(self) -> str:
        """What was chosen, in one line."""
        config = self.config
        fast = self.compiled + (", fused cross-entropy" if isinstance(self.objective, ChunkedNextTokenLoss) else "")
        micro = f" in parts of {self.rows}" if self.rows < config.batch_size else ""
        ranks = f"{self.world.size} x {self.device.type}, {config.parallel}" if self.world.size > 1 else self.device
        return (
            f"{ranks}, {config.precision}, {fast}, batch {config.batch_size} x {self.context_length}{micro}, "
            f"{config.optimizer.name}, {self.model.config.num_parameters:,} parameters, "
            f"{self.train.num_tokens:,} tokens of {self.tokenizer.vocab_size:,} kinds"
        )


def layout(config: RunConfig, size: int) -> tuple[int, int, int]:
    """How ``size`` processes share a batch: replicas, windows that each computes at once, micro-batches of each.

    Raises:
        ValueError: they cannot.
    """
    replicas = config.parallel.replicas(size)
    rows = min(config.rows, max(1, config.batch_size // replicas))
    accumulation = max(1, config.batch_size // (replicas * rows))
    micro_size(config.batch_size, config.ramp.first, replicas, accumulation)
    return replicas, rows, accumulation


def make_fast(model: GPT, config: RunConfig, device: torch.device, is_divided: bool = False) -> str:
    """Compiles the blocks if that was asked for; else a CPU that holds the model whole gets oneDNN's products and the
    compiled kernels. Returns in a word what was done."""
    if config.compile:
        for block in model.blocks:
            block.compile()
        return "compiled"
    if device.type != "cpu" or not onednn.is_available() or is_divided:
        return "no compile"
    onednn.use_onednn(model)
    return "CPU kernels" if training_kernels.use_training_kernels(model) else "oneDNN"


def has_fused_loss(device: torch.device) -> bool:
    """Whether there is a kernel for the loss on a device."""
    if device.type == "cpu":
        return training_kernels.library() is not None
    return device.type == "cuda" and find_spec("triton") is not None


def fused_loss(model: GPT) -> nn.Module:
    """The objective with a kernel: logits keep the model's precision, become their gradient in place, and on a GPU may
    include padding."""
    weight, vocab_size = model.token_embedding.weight, model.config.vocab_size
    if weight.device.type == "cpu":
        rows = max(1, LOGIT_BYTES // (vocab_size * weight.itemsize))
        return ChunkedNextTokenLoss(model, rows, training_kernels.cross_entropy_)
    from glassgpt.kernels.cross_entropy import cross_entropy_

    return ChunkedNextTokenLoss(model, LOGIT_ROWS, partial(cross_entropy_, vocab_size=vocab_size))


def find_device(name: str) -> torch.device:
    """The device called ``name``; "auto" is the accelerator of this machine, or its CPU.

    Raises:
        ValueError: there is no such device.
    """
    accelerator = torch.accelerator.current_accelerator() if torch.accelerator.is_available() else None
    if name == "auto":
        return accelerator or torch.device("cpu")
    device = torch.device(name)
    if device.type != "cpu" and (accelerator is None or device.type != accelerator.type):
        raise ValueError(f"device {name!r} is not available here: choose {accelerator or 'cpu'} or auto")
    return device


def check_vocabulary(shards: Shards, tokenizer: Tokenizer) -> None:
    """Raises ValueError if the tokens come from another tokenizer, or reach beyond it."""
    where = shards.files[0].path.parent
    if shards.manifest is not None and shards.manifest.tokenizer_sha256 != tokenizer.sha256:
        raise ValueError(f"the tokens in {where} were made by another tokenizer: name theirs as data.tokenizer")
    if shards.vocab_size > tokenizer.vocab_size:
        raise ValueError(
            f"the tokens in {where} reach {shards.vocab_size - 1}, the tokenizer has {tokenizer.vocab_size}: "
            "name the tokenizer they were made with as data.tokenizer"
        )


def check_length(held_out: Shards, context_length: int) -> None:
    """Raises ValueError if there is nothing to evaluate on, before the first evaluation finds out."""
    if held_out.num_tokens <= context_length:
        raise ValueError(
            f"{held_out.files[0].path} holds {held_out.num_tokens:,} tokens, one window needs {context_length + 1:,}: "
            "give a larger data.validation, more text, or a shorter model.context_length"
        )


@torch.no_grad()
def zero_residual(model: GPT) -> None:
    """Makes every block start as the identity, by zero weights in its projections into the residual stream.

    Source: Zhang, Dauphin & Ma 2019, https://arxiv.org/abs/1901.09321.
    """
    for name, parameter in model.named_parameters():
        if name.endswith(("attention.out.weight", "mlp.down.weight")):
            parameter.zero_()
