"""Estimates for many devices, at sizes where they can be checked by hand."""

from __future__ import annotations

from dataclasses import replace

import pytest

from glassgpt.inspection.plan import training_memory
from glassgpt.inspection.plan_figures import Setup
from glassgpt.inspection.scale import Cluster, rank_memory, scaled
from glassgpt.model.config import ModelConfig
from glassgpt.model.flops import training_flops
from glassgpt.parallel.config import ParallelConfig
from glassgpt.training.accelerators import accelerators

GPT2 = ModelConfig.named("gpt2")
SETUP = Setup("gpt2", GPT2, batch=8, context=1024, dtype="bfloat16", tokens=1e9, micro_steps=2)
H100 = accelerators()["h100"]
FSDP = ParallelConfig(data="fsdp")


def test_one_device_holds_the_whole_and_sends_nothing():
    found = scaled(SETUP, Cluster(H100, 1, ParallelConfig()), utilization=0.5)
    assert found["sent"] == {"data": 0, "tensor": 0}
    assert found["step_seconds"] == pytest.approx(16 * 1024 * training_flops(GPT2, 1024, causal=False) / 494.5e12)
    assert found["seconds"] == pytest.approx(1e9 / found["tokens_per_second"])


def test_copies_hold_at_most_what_one_process_plans():
    planned = training_memory(GPT2, "bfloat16", 8, 1024)
    found = rank_memory(SETUP, ParallelConfig(), 8)
    assert found["state"] - 2 * GPT2.num_parameters == sum(planned[k] for k in ("weights", "gradients", "optimizer"))
    assert (found["activations"], found["logits"]) == (planned["activations"], planned["logits"])


def test_shares_are_16_bytes_a_parameter_divided_by_all():
    assert rank_memory(SETUP, FSDP, 64)["state"] == GPT2.num_parameters * 16 // 64


def test_tensor_ranks_divide_three_quarters_of_a_blocks_activations():
    """175B on 512 GPUs, eight to a matrix: (4 + 12 / 8) / 16 of 77 GB."""
    setup = replace(SETUP, config=ModelConfig.named("gpt3-175b"), batch=1, context=2048)
    alone, shared = (rank_memory(setup, ParallelConfig(data="fsdp", tensor=t), 512)["activations"] for t in (1, 8))
    assert shared / alone == pytest.approx(5.5 / 16, rel=0.01)


def test_replicas_send_while_they_compute_and_between_machines_more_slowly():
    near, far = (scaled(SETUP, Cluster(H100, size, FSDP), 0.4) for size in (8, 64))
    assert near["sending_seconds"]["data"] < far["sending_seconds"]["data"]
    slow = scaled(SETUP, Cluster(H100, 64, FSDP, between=1e9), 0.4)
    assert slow["step_seconds"] == slow["sending_seconds"]["data"] > slow["computing_seconds"]
