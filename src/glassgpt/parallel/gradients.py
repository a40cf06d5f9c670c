"""The length of a gradient whose parts lie on many ranks, and its clipping. Knows nothing of models.

A parameter is a plain tensor that every rank holds whole, or a DTensor. torch's own functions refuse a mixture of the
two, and one of DTensors on different meshes.
"""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor, nn
from torch.distributed.tensor import DTensor
from torch.nn.utils import get_total_norm

from glassgpt.parallel.world import World


def total_norm(parameters: Iterable[nn.Parameter], world: World) -> Tensor:
    """The Euclidean norm of all gradients as if they were one vector on one process; the same on every rank.

    Takes one all-reduce of one number, and none if nothing is divided.
    """
    grads = [parameter.grad for parameter in parameters if parameter.grad is not None]
    if not any(isinstance(grad, DTensor) for grad in grads):
        return get_total_norm(grads)
    by_copies: dict[int, list[Tensor]] = {}
    for grad in grads:
        by_copies.setdefault(num_copies(grad, world.size), []).append(local(grad))
    # Each rank counts what it holds, a number that n ranks hold as one n-th.
    squares = torch.stack([get_total_norm(group).square() / copies for copies, group in by_copies.items()])
    return world.sum(squares.sum()).sqrt()


def clip(parameters: Iterable[nn.Parameter], longest: float, norm: Tensor) -> None:
    """Shortens all gradients by one factor if their ``norm`` exceeds ``longest``, as ``clip_grad_norm_`` does."""
    grads = [local(parameter.grad) for parameter in parameters if parameter.grad is not None]
    factor = (longest / (norm + 1e-6)).clamp(max=1.0)
    torch._foreach_mul_(grads, factor)


def local(tensor: Tensor) -> Tensor:
    """What this rank holds of a tensor; changing it changes the tensor."""
    return tensor.to_local() if isinstance(tensor, DTensor) else tensor


def num_copies(tensor: Tensor, world_size: int) -> int:
    """How many ranks hold the numbers that this rank holds of a tensor."""
    if not isinstance(tensor, DTensor):
        return world_size
    mesh, placements = tensor.device_mesh, tensor.placements
    assert not any(placement.is_partial() for placement in placements)
    copies = world_size // mesh.size()
    for dim, placement in enumerate(placements):
        if placement.is_replicate():
            copies *= mesh.size(dim)
    return copies
