"""GELU, causal attention and cross-entropy of the compiled library are PyTorch's, and so are their gradients."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from glassgpt.kernels import training
from glassgpt.kernels.compiled import INSTRUCTIONS
from glassgpt.model import attention
from glassgpt.model.config import ModelConfig
from glassgpt.model.gpt import GPT, initialize
from glassgpt.training.loss import plain_cross_entropy_

SETS = ["DEFAULT", "AVX2", "AVX512"]


@pytest.fixture(params=SETS, autouse=True)
def instructions(request, monkeypatch) -> None:
    """Every test runs with every instruction set of this processor."""
    best = torch.backends.cpu.get_cpu_capability()
    if best in INSTRUCTIONS and SETS.index(request.param) > SETS.index(best):
        pytest.skip(f"this processor has no {request.param}")
    if best not in INSTRUCTIONS and request.param != "DEFAULT":
        pytest.skip(f"this processor has no {request.param}")
    lib = training.library(request.param)
    if lib is None:
        pytest.skip("no compiler for the kernels")
    monkeypatch.setattr(training, "library", lambda: lib)


def numbers(*shape: int, dtype: torch.dtype = torch.float32, seed: int = 0) -> Tensor:
    return (3 * torch.randn(shape, generator=torch.Generator().manual_seed(seed))).to(dtype).requires_grad_()


def results(function, *inputs: Tensor) -> list[Tensor]:
    """What a function returns, and the gradients of its inputs for one fixed direction."""
    y = function(*inputs)
    direction = numbers(*y.shape, seed=9).detach().to(y.dtype)
    return [y, *torch.autograd.grad(y, inputs, direction)]


def exactly(function, *inputs: Tensor) -> list[Tensor]:
    """The same in float64."""
    return results(function, *(x.detach().double().requires_grad_() for x in inputs))


def error(results: list[Tensor], exact: list[Tensor]) -> float:
    """The largest relative error of a result, by its length."""
    return max(((ours.double() - x).norm() / x.norm()).item() for ours, x in zip(results, exact, strict=True))


def tanh_gelu(x: Tensor) -> Tensor:
    return F.gelu(x, approximate="tanh")


def plain_attend(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    return attention.attend(q, k, v, None, 0.0)


def attend(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    return training.attend(q, k, v, None, 0.0)


@pytest.mark.parametrize("count", [1, 15, 1003])
def test_gelu_in_float32(count):
    x = numbers(count)
    assert error(results(training.gelu, x), exactly(tanh_gelu, x)) < 1e-6


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_the_slope_of_gelu_is_finite_everywhere(dtype):
    x = torch.linspace(-40, 40, 4001).to(dtype).requires_grad_()
    slope, exact = (torch.autograd.grad(y.sum(), x)[0] for y in (training.gelu(x), tanh_gelu(x)))
    torch.testing.assert_close(slope, exact, rtol=1e-5 if dtype == torch.float32 else 1 / 128, atol=1e-5)


def test_gelu_at_the_ends_of_the_numbers():
    x = torch.tensor([-1e30, -40.0, -0.0, 40.0, 1e30, float("inf")])
    assert training.gelu(x).tolist() == [0, 0, 0, 40.0, torch.tensor(1e30).item(), float("inf")]
    assert training.gelu(torch.tensor([float("nan")])).isnan().all()


def test_attention_in_parts_is_attention_at_once(monkeypatch):
    q, k, v = (numbers(2, 3, 16, 8, dtype=torch.bfloat16, seed=seed) for seed in range(3))
    whole = results(attend, q, k, v)
    monkeypatch.setattr(training, "SCRATCH", 4 * 16 * 16 * 2)
    for part, expected in zip(results(attend, q, k, v), whole, strict=True):
        torch.testing.assert_close(part, expected, rtol=1 / 128, atol=1e-2)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_other_attention_is_the_models_own(dtype):
    q, k, v = (numbers(1, 1, 4, 8, dtype=dtype, seed=seed) for seed in range(3))
    torch.testing.assert_close(training.attend(q, k, v, torch.eye(4, dtype=torch.bool), 0.0), v)
    torch.testing.assert_close(training.attend(q[:, :, :1], k, v, None, 0.0), plain_attend(q[:, :, :1], k, v))


def loss_and_gradient(cross_entropy_, logits: Tensor, targets: Tensor) -> list[Tensor]:
    gradient = logits.detach().clone()
    return [cross_entropy_(gradient, targets, 0.25), gradient]


@pytest.mark.parametrize(("N", "V"), [(1, 2), (5, 97), (3, 50257)])
def test_cross_entropy_in_float32(N, V):
    logits, targets = numbers(N, V), torch.arange(N) * 7 % V
    exact = logits.detach().double().requires_grad_()
    losses = F.cross_entropy(exact, targets, reduction="none")
    expected = [losses, *torch.autograd.grad(0.25 * losses.sum(), exact)]
    for cross_entropy_ in (training.cross_entropy_, plain_cross_entropy_):
        for ours, exact_ in zip(loss_and_gradient(cross_entropy_, logits, targets), expected, strict=True):
            torch.testing.assert_close(ours.double(), exact_, rtol=1e-5, atol=1e-7)


def test_bfloat16_is_rounded_once():
    """Each kernel computes in float32 inside, so it errs as PyTorch does."""
    x = numbers(999, dtype=torch.bfloat16)
    exact = exactly(tanh_gelu, x)
    assert error(results(training.gelu, x), exact) <= 1.1 * error(results(tanh_gelu, x), exact)

    logits, targets = numbers(4, 300, dtype=torch.bfloat16), torch.arange(4)
    losses, gradient = loss_and_gradient(training.cross_entropy_, logits, targets)
    plain_losses, plain_gradient = loss_and_gradient(plain_cross_entropy_, logits, targets)
    torch.testing.assert_close(losses, plain_losses, rtol=1e-5, atol=1e-6)
    torch.testing.assert_close(gradient, plain_gradient, rtol=1 / 128, atol=1e-6)


@pytest.mark.parametrize(("T", "D"), [(2, 4), (8, 16), (17, 10), (64, 32), (131, 64)])
def test_attention_in_float32(T, D):
    qkv = [numbers(2, 3, T, D, seed=seed) for seed in range(3)]
    exact = exactly(plain_attend, *qkv)
    assert error(results(attend, *qkv), exact) < 2e-6


def test_attention_takes_heads_as_they_lie_in_a_layers_output():
    qkv = numbers(2, 17, 3 * 3 * 10)

    def attend_all(function) -> list[Tensor]:
        q, k, v = qkv.view(2, 17, 3, 3, 10).permute(3, 0, 2, 1, 4)
        y = function(q, k, v)
        return [y, *torch.autograd.grad(y.sum(), qkv)]

    for ours, plain in zip(attend_all(attend), attend_all(plain_attend), strict=True):
        torch.testing.assert_close(ours, plain, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("number", [1e30, float("nan"), float("inf")])
def test_attention_sees_what_has_been_and_no_more(number):
    q, k, v = (numbers(1, 1, 20, 8, seed=seed).detach() for seed in range(3))
    before = training.attend(q, k, v, None, 0.0)
    v[0, 0, 9, 3] = number
    y = training.attend(q, k, v, None, 0.0)
    assert not torch.isclose(y[0, 0, 9:, 3], before[0, 0, 9:, 3]).any()
    if number == 1e30:  # nothing times what is not finite is not finite either
        assert torch.equal(y[:, :, :9], before[:, :, :9])


def test_longer_sequences_are_the_models_own(monkeypatch):
    q, k, v = (numbers(1, 1, 9, 8, seed=seed) for seed in range(3))
    ours = attend(q, k, v)
    monkeypatch.setattr(training, "LONGEST", 8)
    torch.testing.assert_close(ours, attend(q, k, v), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize(("N", "M"), [(1, 1), (3, 5), (16, 64), (33, 70)])
def test_turned(N, M):
    assert torch.equal(training.turned(x := numbers(N, M).detach()), x.T)


@pytest.mark.parametrize("T", [2, 17, 128])
def test_attention_in_bfloat16_errs_little_more_than_pytorchs(T):
    """PyTorch keeps the scores in float32, these kernels round them once."""
    qkv = [(numbers(2, 2, T, 64, seed=seed).detach() / 3).to(torch.bfloat16).requires_grad_() for seed in range(3)]
    exact = exactly(plain_attend, *qkv)
    assert error(results(attend, *qkv), exact) <= 2 * error(results(plain_attend, *qkv), exact)


def test_a_model_keeps_its_parameters_and_its_logits():
    config = ModelConfig(vocab_size=97, context_length=16, emb_dim=24, num_heads=3, num_layers=2)
    model = initialize(GPT(config), seed=1)
    tokens = torch.arange(16)[None]
    before, names = model(tokens), list(dict(model.named_parameters()))
    training.use_training_kernels(model)
    assert list(dict(model.named_parameters())) == names
    torch.testing.assert_close(model(tokens), before, rtol=1e-5, atol=1e-6)
