"""The length of a gradient, and its clipping, wherever its parts lie."""

from __future__ import annotations

import pytest
import torch
import worlds
from torch import Tensor, nn
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.tensor import Replicate, Shard, distribute_tensor

from glassgpt.parallel.gradients import clip, total_norm
from glassgpt.parallel.whole import whole
from glassgpt.parallel.world import World


def make(shapes: list[tuple[int, ...]]) -> list[Tensor]:
    generator = torch.Generator().manual_seed(3)
    return [torch.randn(shape, generator=generator) for shape in shapes]


def learn(values: list[Tensor]) -> list[nn.Parameter]:
    """Parameters whose gradients are the values."""
    parameters = [nn.Parameter(torch.zeros_like(value)) for value in values]
    for parameter, value in zip(parameters, values, strict=True):
        parameter.grad = value.clone() if not hasattr(value, "to_local") else value * 1.0
    return parameters


SHAPES = [(5, 4), (7,), (6, 3), (3, 2), (1,)]


def measure(world: World) -> tuple[float, list[Tensor]]:
    """Plain, sharded, unevenly sharded, on another mesh, on an equal mesh that is not the same object."""
    grid = init_device_mesh("cpu", (2, 2), mesh_dim_names=("data", "tensor"))
    line, again = (init_device_mesh("cpu", (4,)) for _ in range(2))
    places = [
        (grid, [Shard(0), Shard(1)]),
        None,
        (grid, [Replicate(), Shard(0)]),
        (line, [Shard(0)]),
        (again, [Shard(0)]),
    ]
    values = [
        value if place is None else distribute_tensor(value, *place)
        for value, place in zip(make(SHAPES), places, strict=True)
    ]
    parameters = learn(values)
    norm = total_norm(parameters, world)
    clip(parameters, 0.5, norm)
    return norm.item(), [whole(parameter.grad) for parameter in parameters]


def test_a_mixture_of_plain_and_divided_gradients():
    parameters = learn(make(SHAPES))
    norm = nn.utils.clip_grad_norm_(parameters, 0.5)
    for found_norm, clipped in worlds.run(measure, 4):
        assert found_norm == pytest.approx(norm.item(), rel=1e-6)
        for grad, parameter in zip(clipped, parameters, strict=True):
            torch.testing.assert_close(grad, parameter.grad, rtol=1e-6, atol=0)


def test_on_one_process_it_is_what_torch_does_to_the_last_bit():
    ours, theirs = learn(make(SHAPES)), learn(make(SHAPES))
    norm = total_norm(ours, World())
    clip(ours, 0.5, norm)
    assert torch.equal(norm, nn.utils.clip_grad_norm_(theirs, 0.5))
    assert all(torch.equal(one.grad, other.grad) for one, other in zip(ours, theirs, strict=True))


def test_a_short_gradient_stays():
    parameters = learn(make(SHAPES))
    clip(parameters, 100.0, total_norm(parameters, World()))
    assert all(torch.equal(p.grad, value) for p, value in zip(parameters, make(SHAPES), strict=True))
