"""The objective is the mean surprise in nats, whole or in chunks."""

from __future__ import annotations

import pytest
import torch

from glassgpt.model.config import ModelConfig
from glassgpt.model.gpt import GPT, initialize
from glassgpt.training.loss import ChunkedNextTokenLoss, NextTokenLoss


@pytest.fixture(params=[True, False], ids=["tied", "untied"])
def model(request) -> GPT:
    config = ModelConfig(
        vocab_size=97, context_length=8, emb_dim=24, num_heads=3, num_layers=2, tied_head=request.param
    )
    return initialize(GPT(config), seed=3)


@pytest.fixture
def batch() -> tuple[torch.Tensor, torch.Tensor]:
    windows = torch.randint(97, (5, 9), generator=torch.Generator().manual_seed(0))
    return windows[:, :-1], windows[:, 1:]


def test_the_loss_is_the_mean_negative_log_probability_of_the_targets(model, batch):
    tokens, targets = batch
    probabilities = model(tokens).softmax(-1)
    expected = -probabilities.gather(-1, targets[..., None]).log().mean()
    torch.testing.assert_close(NextTokenLoss(model)(tokens, targets), expected)


@pytest.mark.parametrize("rows", [1, 7, 40, 1000])
def test_chunks_change_neither_loss_nor_gradients(model, batch, rows):
    plain = 0.5 * NextTokenLoss(model)(*batch)
    plain.backward()
    expected = {name: p.grad for name, p in model.named_parameters()}
    model.zero_grad()
    chunked = 0.5 * ChunkedNextTokenLoss(model, rows)(*batch)
    chunked.backward()
    torch.testing.assert_close(chunked, plain)
    for name, parameter in model.named_parameters():
        torch.testing.assert_close(parameter.grad, expected[name], atol=1e-7, rtol=1e-5)


def test_the_chunked_loss_also_evaluates(model, batch):
    with torch.inference_mode():
        torch.testing.assert_close(ChunkedNextTokenLoss(model, 7)(*batch), NextTokenLoss(model)(*batch))


def test_the_objective_adds_no_parameters(model):
    assert [p.data_ptr() for p in NextTokenLoss(model).parameters()] == [p.data_ptr() for p in model.parameters()]
