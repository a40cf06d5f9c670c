"""Every way to learn takes the steps that the book's model takes with plain cross entropy and AdamW."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from glassgpt.book import GPTModel
from glassgpt.kernels import onednn, training
from glassgpt.model.config import ModelConfig
from glassgpt.model.gpt import GPT
from glassgpt.training.config import OptimizerConfig
from glassgpt.training.loss import ChunkedNextTokenLoss, NextTokenLoss
from glassgpt.training.optimizer import Optimizer
from glassgpt.weights.book import from_book

SETTINGS = {
    "vocab_size": 257, "context_length": 32, "emb_dim": 48, "n_heads": 3, "n_layers": 3, "drop_rate": 0.0,
    "qkv_bias": True,
}  # fmt: skip
STEPS, LR = 4, 3e-3
TEXT = torch.randint(257, (STEPS, 4, 25), generator=torch.Generator().manual_seed(5))

Trace = list[tuple[float, float]]  # loss and gradient norm, step by step


def follow(
    backward: Callable[[Tensor, Tensor], float], parameters: list[nn.Parameter], step: Callable[[], None]
) -> Trace:
    trace = []
    for windows in TEXT:
        loss = backward(windows[:, :-1], windows[:, 1:])
        norm = nn.utils.get_total_norm([p.grad for p in parameters if p.grad is not None])
        trace.append((loss, norm.item()))
        step()
        for parameter in parameters:
            parameter.grad = None
    return trace


@pytest.fixture(scope="module")
def book() -> GPTModel:
    torch.manual_seed(123)
    return GPTModel(SETTINGS)


@pytest.fixture(scope="module")
def expected(book) -> Trace:
    model = GPTModel(SETTINGS)
    model.load_state_dict(book.state_dict())
    parameters = list(model.parameters())
    groups = [
        {"params": [p for p in parameters if p.ndim == 2], "weight_decay": 0.1},
        {"params": [p for p in parameters if p.ndim != 2], "weight_decay": 0.0},
    ]
    optimizer = torch.optim.AdamW(groups, lr=LR, betas=(0.9, 0.95))

    def backward(tokens: Tensor, targets: Tensor) -> float:
        loss = F.cross_entropy(model(tokens).flatten(0, 1), targets.flatten())
        loss.backward()
        return loss.item()

    return follow(backward, parameters, optimizer.step)


def at_once(objective: nn.Module) -> Callable[[Tensor, Tensor], float]:
    def backward(tokens: Tensor, targets: Tensor) -> float:
        loss = objective(tokens, targets)
        loss.backward()
        return loss.item()

    return backward


def plain(model: GPT) -> Callable[[Tensor, Tensor], float]:
    return at_once(NextTokenLoss(model))


def chunked(model: GPT) -> Callable[[Tensor, Tensor], float]:
    return at_once(ChunkedNextTokenLoss(model, rows=30))


def through_onednn(model: GPT) -> Callable[[Tensor, Tensor], float]:
    onednn.use_onednn(model)
    return at_once(NextTokenLoss(model))


def through_kernels(model: GPT) -> Callable[[Tensor, Tensor], float]:
    if training.library() is None:
        pytest.skip("no compiler for the kernels")
    onednn.use_onednn(model)
    training.use_training_kernels(model)
    return at_once(ChunkedNextTokenLoss(model, 30, training.cross_entropy_))


def compiled(model: GPT) -> Callable[[Tensor, Tensor], float]:
    for block in model.blocks:
        block.compile()
    return at_once(NextTokenLoss(model))


def accumulated(model: GPT) -> Callable[[Tensor, Tensor], float]:
    """One and three windows: the loss is the sum over tokens divided by all tokens of the step."""
    objective = NextTokenLoss(model)

    def backward(tokens: Tensor, targets: Tensor) -> float:
        total = 0.0
        for rows in zip(tokens.split([1, 3]), targets.split([1, 3]), strict=True):
            share = objective(*rows) * (rows[1].numel() / targets.numel())
            share.backward()
            total += share.item()
        return total

    return backward


WAYS = {way.__name__: way for way in (plain, chunked, through_onednn, through_kernels, compiled, accumulated)}


@pytest.mark.parametrize("name", WAYS)
def test_losses_and_gradient_norms_equal_the_books(book, expected, name):
    config = ModelConfig.from_book(SETTINGS)
    model = GPT(config)
    model.load_state_dict(from_book(book.state_dict(), config))
    optimizer = Optimizer(model, OptimizerConfig(lr=LR, weight_decay=0.1, beta1=0.9, beta2=0.95))
    trace = follow(WAYS[name](model), list(model.parameters()), lambda: optimizer.step(LR))
    torch.testing.assert_close(torch.tensor(trace), torch.tensor(expected), rtol=2e-5, atol=0)
