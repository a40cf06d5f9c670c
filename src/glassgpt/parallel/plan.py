"""Divides a finished model among the ranks of a world, from outside: the model and its objective stay as they are.

B batch, T tokens
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import nn
from torch.distributed.fsdp import FSDPModule, MixedPrecisionPolicy, fully_shard
from torch.distributed.tensor.parallel import loss_parallel
from torch.nn.parallel import DistributedDataParallel

from glassgpt.model.gpt import GPT
from glassgpt.parallel.config import ParallelConfig
from glassgpt.parallel.tensor import split
from glassgpt.parallel.world import World


def parallelize(
    objective: nn.Module, world: World, config: ParallelConfig, dtype: torch.dtype = torch.float32
) -> nn.Module:
    """The objective of ``objective.model``, computed by all ranks: called with this rank's rows, it returns their loss,
    and after ``backward`` every rank has its part of the gradient of the mean over all.

    Parameters keep their names. Under "fsdp" they become parts of themselves (DTensors), so build optimizers
    afterwards, and blocks compute in ``dtype`` while gradients are summed in float32; "ddp" leaves types alone. Model
    and objective may be on the meta device under "fsdp".

    Raises:
        ValueError: the ranks or the heads cannot be divided as ``config`` says.
    """
    config.replicas(world.size)
    if not config.is_divided(world.size):
        return objective if world.size == 1 else DistributedDataParallel(objective, gradient_as_bucket_view=True)
    model, mesh = objective.model, world.mesh(config.tensor)
    assert isinstance(model, GPT)
    if config.tensor > 1:
        split(model, objective, mesh["tensor"])
    policy = MixedPrecisionPolicy(param_dtype=dtype, reduce_dtype=torch.float32)
    for module in (*model.blocks, objective):
        # Also the outermost: parameters are parts whenever the model rests, even after an evaluation.
        fully_shard(module, mesh=mesh["data"], mp_policy=policy, reshard_after_forward=True)
    return objective


@contextmanager
def micro_step(objective: nn.Module, is_last: bool) -> Iterator[None]:
    """Frames forward and backward pass of one micro-batch; gradients travel only in the last one of a step."""
    if isinstance(objective, FSDPModule):
        objective.set_requires_gradient_sync(is_last)
        with loss_parallel():
            yield
    elif isinstance(objective, DistributedDataParallel) and not is_last:
        with objective.no_sync():
            yield
    else:
        yield
