"""The formulas of what ranks send, at sizes where they can be checked by hand."""

from __future__ import annotations

from glassgpt.model.config import ModelConfig
from glassgpt.parallel.config import ParallelConfig
from glassgpt.parallel.traffic import sent_bytes

GPT2 = ModelConfig.named("gpt2")
N = GPT2.num_parameters


def test_one_process_sends_nothing():
    assert sent_bytes(GPT2, ParallelConfig(), size=1, rows=8) == {"data": 0, "tensor": 0}


def test_copies_exchange_gradients_once_whatever_the_micro_steps():
    for micro_steps in (1, 16):
        assert sent_bytes(GPT2, ParallelConfig(), 8, rows=8, micro_steps=micro_steps)["data"] == 2 * 7 / 8 * 4 * N


def test_shares_are_lent_twice_a_micro_step():
    config = ParallelConfig(data="fsdp")
    assert sent_bytes(GPT2, config, 8, rows=8, micro_steps=3)["data"] == 7 / 8 * (4 + 2 * 3 * 2) * N


def test_tensor_ranks_exchange_activations():
    sent = sent_bytes(GPT2, ParallelConfig(data="fsdp", tensor=8), 8, rows=2)
    assert sent == {"data": 0, "tensor": (4 * 12 + 2) * 2 * 7 / 8 * (2 * 1024 * 768 * 2)}
