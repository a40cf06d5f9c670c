"""The count of FLOPs against PyTorch's own counter."""

import pytest
import torch
from pytest import approx
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from glassgpt.model.config import ModelConfig
from glassgpt.model.flops import forward_flops, training_flops
from glassgpt.model.gpt import GPT
from glassgpt.training.loss import NextTokenLoss

TINY = ModelConfig(vocab_size=101, context_length=32, emb_dim=48, num_heads=3, num_layers=2)
VARIANTS = [{}, {"tied_head": False}, {"qkv_bias": False}, {"tied_head": False, "qkv_bias": False}]


def counted(config, batch, *, train):
    """What PyTorch counts: the plain attention kernel multiplies all T x T scores."""
    tokens = torch.zeros(batch, config.context_length, dtype=torch.long)
    objective = NextTokenLoss(GPT(config))
    with sdpa_kernel(SDPBackend.MATH), FlopCounterMode(display=False) as counter:
        loss = objective(tokens, tokens)
        if train:
            loss.backward()
    return counter.get_total_flops()


@pytest.mark.parametrize("changes", VARIANTS)
def test_forward_pass_is_what_torch_counts(changes):
    config = TINY.model_copy(update=changes)
    T = config.context_length
    expected = 2 * T * sum(forward_flops(config, T, causal=False).values())
    assert counted(config, batch=2, train=False) == expected


def test_training_is_what_torch_counts():
    T = TINY.context_length
    assert counted(TINY, batch=2, train=True) == 2 * T * training_flops(TINY, T, causal=False)


def test_causal_attention_is_the_mean_over_the_positions():
    T, d, L = TINY.context_length, TINY.emb_dim, TINY.num_layers
    scores = [4 * L * d * (position + 1) for position in range(T)]  # a token meets itself and the past
    assert forward_flops(TINY, T)["attention_scores"] == sum(scores) / T


def test_the_rule_of_six_a_parameter_is_close_for_a_large_model():
    config = ModelConfig.named("gpt3-175b")
    assert training_flops(config, 2048) == approx(6 * config.num_parameters, rel=0.02)
