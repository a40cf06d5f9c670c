"""Every way to divide a model among processes takes the steps that one process takes: losses and gradient norms."""

from __future__ import annotations

import pytest
import torch
import worlds

from glassgpt.model.config import ModelConfig
from glassgpt.model.gpt import GPT, initialize
from glassgpt.parallel.config import ParallelConfig
from glassgpt.parallel.gradients import clip, total_norm
from glassgpt.parallel.plan import micro_step, parallelize
from glassgpt.parallel.world import World
from glassgpt.training.config import OptimizerConfig
from glassgpt.training.loss import NextTokenLoss
from glassgpt.training.optimizer import Optimizer

# 257 tokens cannot be divided evenly, so parts of different size are tested, too.
CONFIG = ModelConfig(vocab_size=257, context_length=32, emb_dim=48, num_heads=4, num_layers=3)
UNTIED = CONFIG.model_copy(update={"tied_head": False})
STEPS, LR, CLIP, MICRO_STEPS = 4, 3e-3, 0.5, 2
TEXT = torch.randint(257, (STEPS, 8, 25), generator=torch.Generator().manual_seed(5))

WAYS = {
    "DDP on 2": (2, ParallelConfig(data="ddp"), CONFIG),
    "FSDP2 on 2": (2, ParallelConfig(data="fsdp"), CONFIG),
    "tensor on 2": (2, ParallelConfig(data="fsdp", tensor=2), CONFIG),
    "tensor on 2, own head": (2, ParallelConfig(data="fsdp", tensor=2), UNTIED),
    "DDP on 4": (4, ParallelConfig(data="ddp"), CONFIG),
    "FSDP2 on 4": (4, ParallelConfig(data="fsdp"), CONFIG),
    "FSDP2 x tensor on 4": (4, ParallelConfig(data="fsdp", tensor=2), CONFIG),
}

Trace = list[tuple[float, float]]  # loss and gradient norm, step by step


def follow(world: World, config: ParallelConfig, shape: ModelConfig) -> Trace:
    model = initialize(GPT(shape), seed=1)
    objective = parallelize(NextTokenLoss(model), world, config)
    optimizer = Optimizer(model, OptimizerConfig())
    trace = []
    for windows in TEXT:
        rows = windows.chunk(config.replicas(world.size))[world.rank // config.tensor]
        loss = torch.zeros(())
        for number, micro in enumerate(rows.chunk(MICRO_STEPS)):
            with micro_step(objective, is_last=number == MICRO_STEPS - 1):
                share = objective(micro[:, :-1], micro[:, 1:]) / MICRO_STEPS
                share.backward()
            loss += share.detach()
        parameters = list(model.parameters())
        norm = total_norm(parameters, world)
        clip(parameters, CLIP, norm)
        optimizer.step(LR)
        model.zero_grad()
        trace.append((world.mean(loss).item(), norm.item()))
    return trace


def follow_all(world: World, ways: list[tuple[ParallelConfig, ModelConfig]]) -> list[Trace]:
    return [follow(world, *way) for way in ways]


@pytest.fixture(scope="module")
def traces() -> dict[str, list[Trace]]:
    """What each rank saw, by way; one world a size goes all its ways."""
    found: dict[str, list[Trace]] = {}
    for size in (2, 4):
        ways = {name: way for name, (ranks, *way) in WAYS.items() if ranks == size}
        of_ranks = worlds.run(follow_all, size, list(ways.values()))
        found |= zip(ways, map(list, zip(*of_ranks, strict=True)), strict=True)
    return found


@pytest.fixture(scope="module")
def expected() -> dict[ModelConfig, Trace]:
    return {shape: follow(World(), ParallelConfig(), shape) for shape in (CONFIG, UNTIED)}


@pytest.mark.parametrize("name", WAYS)
def test_losses_and_gradient_norms_equal_those_of_one_process(traces, expected, name):
    """Only the order of summation differs, so float32 agrees to the last of its seven digits."""
    for trace in traces[name]:
        torch.testing.assert_close(torch.tensor(trace), torch.tensor(expected[WAYS[name][2]]), rtol=1e-6, atol=0)


@pytest.mark.parametrize("name", WAYS)
def test_all_ranks_see_the_same_numbers(traces, name):
    assert all(trace == traces[name][0] for trace in traces[name])
