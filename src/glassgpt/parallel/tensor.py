"""Tensor parallelism by names: which layers of a block share their matrices among ranks, and how. Source: Shoeybi et
al. 2019, https://arxiv.org/abs/1909.08053.

Each rank holds whole heads and a share of the inner feed-forward layer, so a block needs one all-reduce after attention
and one after the feed-forward part. Token embedding and head are divided by tokens of the vocabulary, and the loss is
computed without ever gathering the logits. Everything else is held by every rank of the group.
"""

from __future__ import annotations

from typing import Any

from torch import Tensor, nn
from torch.distributed.device_mesh import DeviceMesh
from torch.distributed.tensor import DTensor, Replicate, distribute_module
from torch.distributed.tensor.parallel import ColwiseParallel, ParallelStyle, RowwiseParallel, parallelize_module

from glassgpt.model.gpt import GPT


def block_plan() -> dict[str, ParallelStyle]:
    """The layers of a block. Rows of qkv are ordered by head, so a contiguous share of them is a set of whole heads."""
    return {
        "attention.qkv": ColwiseParallel(),
        "attention.out": RowwiseParallel(),
        "mlp.up": ColwiseParallel(),
        "mlp.down": RowwiseParallel(),
    }


def split(model: GPT, objective: nn.Module, mesh: DeviceMesh) -> None:
    """Divides the model inside ``objective`` among the ranks of a one-dimensional mesh. Every parameter becomes a
    DTensor; tokens, targets and loss stay what they were, equal on all ranks.

    Raises:
        ValueError: the heads cannot be divided evenly.
    """
    if (num_heads := model.config.num_heads) % mesh.size():
        raise ValueError(f"{num_heads} heads cannot be shared by tensor {mesh.size()}: choose a divisor of {num_heads}")
    for block in model.blocks:
        parallelize_module(block, mesh, block_plan())
        for norm in ("attention_norm", "mlp_norm"):
            distribute_module(block.get_submodule(norm), mesh, None, replicated, local)
    distribute_module(model.position_embedding, mesh, None, replicated, local)
    # The last hidden states stay DTensors: a tied head multiplies them by the token embedding, which is one.
    distribute_module(model.final_norm, mesh, None, replicated, None)
    parallelize_module(model, mesh, {"token_embedding": RowwiseParallel(input_layouts=Replicate())})
    if model.head is not None:
        parallelize_module(model, mesh, {"head": ColwiseParallel(use_local_output=False)})

    def share_targets(_: nn.Module, batch: tuple[Tensor, Tensor]) -> tuple[Tensor, Tensor]:
        tokens, targets = batch
        return tokens, replicated(model, (targets,), mesh)[0]

    objective.register_forward_pre_hook(share_targets)
    # A view of the loss would lose the hooks that FSDP2 hangs on it when it is changed in place.
    objective.register_forward_hook(lambda _, __, loss: loss.redistribute(placements=[Replicate()]).to_local().clone())


def replicated(_: nn.Module, inputs: tuple[Tensor, ...], mesh: DeviceMesh) -> Any:
    """Inputs that are the same on every rank, as DTensors."""
    return tuple(DTensor.from_local(x, mesh, [Replicate()], run_check=False) for x in inputs)


def local(_: nn.Module, output: Any, mesh: DeviceMesh) -> Any:
    """An output that is the same on every rank, as a plain tensor."""
    return output.to_local()
