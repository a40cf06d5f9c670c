"""What travels between ranks, and when, as the profiler counts it."""

from __future__ import annotations

from collections import Counter

import pytest
import torch
import worlds
from torch.profiler import ProfilerActivity, profile

from glassgpt.model.config import ModelConfig
from glassgpt.model.gpt import GPT
from glassgpt.parallel.config import ParallelConfig
from glassgpt.parallel.plan import micro_step, parallelize
from glassgpt.parallel.world import World
from glassgpt.training.loss import NextTokenLoss

LAYERS = 3
CONFIG = ModelConfig(vocab_size=257, context_length=16, emb_dim=24, num_heads=2, num_layers=LAYERS)
GATHERS = {"c10d::_allgather_base_": 2 * (LAYERS + 1)}  # weights travel for the forward and for the backward pass
SCATTERS = {"c10d::_reduce_scatter_base_": LAYERS + 1}


def count(world: World, config: ParallelConfig) -> list[Counter[str]]:
    """The collectives of three micro-steps."""
    objective = parallelize(NextTokenLoss(GPT(CONFIG)), world, config)
    tokens = torch.zeros(2, 16, dtype=torch.long)
    counts = []
    for is_last in (False, False, True):
        with profile(activities=[ProfilerActivity.CPU], acc_events=True) as profiler, micro_step(objective, is_last):
            objective(tokens, tokens).backward()
        counts.append(Counter(event.name for event in profiler.events() if event.name.startswith("c10d::")))
    return counts


@pytest.mark.parametrize(
    ("size", "config", "every_time", "last_time"),
    [
        (2, ParallelConfig(data="ddp"), {}, {"c10d::allreduce_": 1}),
        (2, ParallelConfig(data="fsdp"), GATHERS, SCATTERS),
        # Four a layer, one for the embedding and one for the head, and three numbers a token for the loss.
        (2, ParallelConfig(data="fsdp", tensor=2), {"c10d::allreduce_": 4 * LAYERS + 2 + 3}, {}),
    ],
    ids=str,
)
def test_gradients_travel_once_a_step(size, config, every_time, last_time):
    for counts in worlds.run(count, size, config):
        assert counts == [every_time, every_time, {**every_time, **last_time}]


def test_one_process_is_left_as_it_is():
    objective = NextTokenLoss(GPT(CONFIG))
    assert parallelize(objective, World(), ParallelConfig(data="fsdp")) is objective
