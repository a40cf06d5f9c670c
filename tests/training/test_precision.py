"""A bfloat16 copy computes, the float32 master learns."""

from __future__ import annotations

import pytest
import torch

from glassgpt.model.config import ModelConfig
from glassgpt.model.gpt import GPT, initialize
from glassgpt.training.loss import NextTokenLoss
from glassgpt.training.precision import WorkingCopy


def make_master() -> GPT:
    return initialize(GPT(ModelConfig(vocab_size=50, context_length=8, emb_dim=16, num_heads=2, num_layers=2)), 1)


def test_in_float32_the_working_copy_is_the_master():
    master = make_master()
    assert WorkingCopy(master, torch.float32).model is master


def test_the_copy_computes_in_bfloat16_and_its_gradients_arrive_in_float32():
    master = make_master()
    working = WorkingCopy(master, torch.bfloat16)
    tokens = torch.arange(8)[None]
    expected = torch.autograd.grad(NextTokenLoss(master)(tokens, tokens), list(master.parameters()))
    for _ in range(2):
        NextTokenLoss(working.model)(tokens, tokens).backward()
        working.collect()
    for master_parameter, working_parameter, gradient in zip(
        master.parameters(), working.model.parameters(), expected, strict=True
    ):
        assert working_parameter.dtype == torch.bfloat16 and working_parameter.grad is None
        assert master_parameter.grad.dtype == torch.float32
        torch.testing.assert_close(master_parameter.grad, 2 * gradient, atol=0.02, rtol=0.1)


def test_updates_too_small_for_bfloat16_add_up_in_the_master():
    master = make_master()
    working = WorkingCopy(master, torch.bfloat16)
    weight = master.final_norm.weight
    for _ in range(100):
        with torch.no_grad():
            weight.add_(1e-4)  # bfloat16 has no number between 1 and 1.0078
        working.refresh()
    assert weight[0].item() > 1.009
    assert working.model.final_norm.weight[0].item() == 1.0078125


@pytest.mark.parametrize("tied_head", [True, False])
def test_a_padded_vocabulary_is_seen_by_nobody(tied_head):
    master = initialize(
        GPT(ModelConfig(vocab_size=50, context_length=8, emb_dim=16, num_heads=2, num_layers=1, tied_head=tied_head)), 1
    )
    plain, padded = WorkingCopy(master, torch.bfloat16), WorkingCopy(master, torch.bfloat16, vocab_multiple=64)
    tokens = torch.arange(8)[None]
    assert padded.model(tokens).shape == (1, 8, 64)
    gradients = []
    for working in (plain, padded):
        logits = working.model(tokens)[0, :, :50]
        torch.nn.functional.cross_entropy(logits.float(), tokens[0]).backward()
        working.collect()
        gradients.append([parameter.grad for parameter in master.parameters()])
        master.zero_grad()
    torch.testing.assert_close(*gradients, atol=1e-3, rtol=1e-2)
    with torch.no_grad():
        master.token_embedding.weight.add_(1.0)
    padded.refresh()
    weight = padded.model.token_embedding.weight
    assert torch.equal(weight[:50], master.token_embedding.weight.bfloat16()) and not weight[50:].any()
