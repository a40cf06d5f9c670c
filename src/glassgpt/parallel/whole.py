"""Whole tensors from the parts that ranks hold, and back, one at a time: the main rank alone reads and writes files,
and they look the same whatever the world that made them. Knows nothing of formats.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any, TypeVar

import torch
from torch import Tensor, nn
from torch.distributed.tensor import DTensor, Replicate, distribute_tensor

from glassgpt.parallel.conduct import conduct
from glassgpt.parallel.world import World

T = TypeVar("T")


def gather(world: World, tensors: Mapping[str, Tensor], work: Callable[[Callable[[str], Tensor]], T]) -> T:
    """Runs ``work(fetch)`` on the main rank, where ``fetch(name)`` is one of ``tensors``, whole; every rank returns its
    result, which JSON must be able to say.

    Names and parts must be the same on all ranks. Only one whole tensor need exist at a time.

    Raises:
        OtherRankFailed: on the other ranks, if ``work`` raises on the main one.
    """

    def conducted(call: Callable[[str], None]) -> T:
        def fetch(name: str) -> Tensor:
            call(name)
            return whole(tensors[name])

        return work(fetch)

    return conduct(world, conducted, lambda name: whole(tensors[name]))


@torch.no_grad()
def fill(world: World, tensors: Mapping[str, Tensor], source: Callable[[str], Tensor]) -> None:
    """Gives every rank its part of ``source(name)``, a whole tensor that only the main rank is asked for, for each of
    ``tensors``.

    Raises:
        OtherRankFailed: on the other ranks, if ``source`` raises on the main one.
    """

    def receive(name: str, value: Tensor | None = None) -> None:
        tensor = tensors[name]
        value = torch.empty(tensor.shape) if value is None else value
        tensor.copy_(part(world.broadcast(value.to(world.device, tensor.dtype)), tensor))

    def send(call: Callable[[str], None]) -> None:
        for name in tensors:
            value = source(name)
            call(name)
            receive(name, value)

    conduct(world, send, receive)


def whole(tensor: Tensor) -> Tensor:
    """The whole of a tensor, put together from all ranks if it is divided; all of them must ask for it."""
    tensor = tensor.detach()
    if not isinstance(tensor, DTensor):
        return tensor
    placements = list(tensor.placements)
    for dim in range(len(placements)):  # the last cut is undone first: data ranks divide what tensor ranks were given
        placements[dim] = Replicate()
        tensor = tensor.redistribute(placements=placements)
    return tensor.to_local()


def part(whole: Tensor, like: Tensor) -> Tensor:
    """What this rank holds of ``whole`` if it is divided as ``like`` is. Nothing is sent: every rank has the whole."""
    if not isinstance(like, DTensor):
        return whole
    return distribute_tensor(whole, like.device_mesh, like.placements, src_data_rank=None)


class WholeParameters:
    """Stands in for a model whose weights are being initialised: it hands out whole parameters, one at a time and on
    the CPU, and keeps this rank's part of what was written into each."""

    def __init__(self, model: nn.Module):
        self.model = model
        self.config: Any = model.config

    def named_parameters(self) -> Iterator[tuple[str, Tensor]]:
        for name, parameter in self.model.named_parameters():
            value = torch.empty(parameter.shape, dtype=parameter.dtype)
            yield name, value
            with torch.no_grad():
                parameter.copy_(part(value.to(parameter.device), parameter))
