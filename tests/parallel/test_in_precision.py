"""The objective computes in bfloat16, the float32 weights learn."""

from __future__ import annotations

import torch

from glassgpt.model.config import ModelConfig
from glassgpt.model.gpt import GPT, initialize
from glassgpt.parallel.precision import InPrecision
from glassgpt.training.loss import NextTokenLoss

TOKENS = torch.arange(8)[None]


def make_model() -> GPT:
    return initialize(GPT(ModelConfig(vocab_size=50, context_length=8, emb_dim=16, num_heads=2, num_layers=2)), 1)


def test_it_computes_in_bfloat16_and_gradients_arrive_in_float32():
    model = make_model()
    expected = torch.autograd.grad(NextTokenLoss(model)(TOKENS, TOKENS), list(model.parameters()))
    kinds = set()
    model.blocks[0].mlp.register_forward_hook(lambda module, inputs, output: kinds.add(output.dtype))
    for _ in range(2):
        InPrecision(NextTokenLoss(model), torch.bfloat16)(TOKENS, TOKENS).backward()
    assert kinds == {torch.bfloat16}
    for parameter, gradient in zip(model.parameters(), expected, strict=True):
        assert parameter.dtype == parameter.grad.dtype == torch.float32
        torch.testing.assert_close(parameter.grad, 2 * gradient, atol=0.02, rtol=0.1)


def test_it_equals_a_bfloat16_copy_to_the_last_bit():
    model, copy = make_model(), make_model().bfloat16()
    NextTokenLoss(copy)(TOKENS, TOKENS).backward()
    InPrecision(NextTokenLoss(model), torch.bfloat16)(TOKENS, TOKENS).backward()
    for parameter, copied in zip(model.parameters(), copy.parameters(), strict=True):
        assert torch.equal(parameter.grad, copied.grad.float())


def test_updates_too_small_for_bfloat16_add_up():
    model = make_model()
    objective = InPrecision(NextTokenLoss(model), torch.bfloat16)
    before = objective(TOKENS, TOKENS)
    weight = model.final_norm.weight
    for _ in range(100):
        with torch.no_grad():
            weight.add_(1e-4)  # bfloat16 has no number between 1 and 1.0078
    assert weight[0].item() > 1.009
    assert objective(TOKENS, TOKENS) != before
