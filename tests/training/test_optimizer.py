"""AdamW and Muon: what decays, what is orthogonalised, and a state that can be taken up again bit for bit."""

from __future__ import annotations

from itertools import chain

import pytest
import torch

from glassgpt.model.config import ModelConfig
from glassgpt.model.gpt import GPT, initialize
from glassgpt.training.config import OptimizerConfig
from glassgpt.training.muon import join_qkv, orthogonal, split_qkv
from glassgpt.training.optimizer import Optimizer

NAMES = pytest.mark.parametrize("name", ["adamw", "muon"])


def make_model(seed: int = 1) -> GPT:
    return initialize(GPT(ModelConfig(vocab_size=50, context_length=8, emb_dim=16, num_heads=2, num_layers=2)), seed)


def give_gradients(model: GPT, seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    for parameter in model.parameters():
        parameter.grad = torch.randn(parameter.shape, generator=generator)


@NAMES
def test_every_parameter_moves(name):
    model, before = make_model(), make_model()
    optimizer = Optimizer(model, OptimizerConfig(name=name))
    give_gradients(model, 1)
    optimizer.step(1e-2)
    for (key, new), old in zip(model.named_parameters(), before.parameters(), strict=True):
        assert not torch.equal(new, old), key


@NAMES
def test_matrices_decay_and_biases_and_norms_do_not(name):
    model, before = make_model(), make_model()
    optimizer = Optimizer(model, OptimizerConfig(name=name, weight_decay=0.5))
    for parameter in model.parameters():
        parameter.grad = torch.zeros_like(parameter)
    optimizer.step(0.1)
    for new, old in zip(model.parameters(), before.parameters(), strict=True):
        torch.testing.assert_close(new, old * (0.95 if old.ndim == 2 else 1.0))


@NAMES
def test_a_restored_optimizer_goes_on_bit_for_bit(name):
    model = make_model()
    optimizer = Optimizer(model, OptimizerConfig(name=name))
    for seed in range(3):
        give_gradients(model, seed)
        optimizer.step(1e-2)
    other = make_model(seed=2)
    other.load_state_dict(model.state_dict())
    restored = Optimizer(other, OptimizerConfig(name=name))
    restored.restore({key: value.clone() for key, value in optimizer.tensors().items()}, optimizer.updates)
    for seed in range(3, 6):
        for each, driver in ((model, optimizer), (other, restored)):
            give_gradients(each, seed)
            driver.step(1e-2)
    assert all(torch.equal(a, b) for a, b in zip(model.parameters(), other.parameters(), strict=True))
    assert all(torch.equal(value, optimizer.tensors()[key]) for key, value in restored.tensors().items())
    assert restored.updates == optimizer.updates == 6


def test_the_state_of_another_optimizer_is_refused():
    adamw, model = make_model(), make_model()
    optimizer = Optimizer(adamw, OptimizerConfig())
    give_gradients(adamw, 0)
    optimizer.step(1e-3)
    with pytest.raises(ValueError, match=r"no blocks.0.attention.qkv.weight.momentum_buffer of shape"):
        Optimizer(model, OptimizerConfig(name="muon")).restore(optimizer.tensors(), 1)


@NAMES
def test_the_size_of_the_state_is_known_before_the_first_step(name):
    model = make_model()
    optimizer = Optimizer(model, OptimizerConfig(name=name))
    expected = optimizer.num_bytes
    give_gradients(model, 0)
    optimizer.step(1e-3)
    assert sum(tensor.nbytes for tensor in optimizer.tensors().values()) == expected


def test_muon_updates_are_orthogonal_matrices():
    matrices = torch.randn(3, 16, 64, generator=torch.Generator().manual_seed(0))
    for shape in (matrices, matrices.mT):
        singular = torch.linalg.svdvals(orthogonal(shape, torch.float32))
        assert 0.6 < singular.min() and singular.max() < 1.3


def test_muon_equals_torchs_on_queries_keys_and_values_apart():
    model = make_model()
    D, rates = model.config.head_dim, {"weight_decay": 0.1, "momentum": 0.95}
    named = {n: p for n, p in model.named_parameters() if n.startswith("blocks.") and p.ndim == 2}
    apart = {}
    for name, parameter in named.items():
        copy = parameter.detach().clone()
        rows = list(split_qkv(copy[None], D)[0]) if "qkv" in name else [copy]
        apart[name] = [part.clone() for part in rows]
    theirs = torch.optim.Muon(chain.from_iterable(apart.values()), lr=0.1, adjust_lr_fn="match_rms_adamw", **rates)
    ours = Optimizer(model, OptimizerConfig(name="muon", **rates))
    for seed in range(3):
        give_gradients(model, seed)
        for name, parameter in named.items():
            rows = split_qkv(parameter.grad[None], D)[0] if "qkv" in name else [parameter.grad]
            for part, gradient in zip(apart[name], rows, strict=True):
                part.grad = gradient.clone()
        theirs.step()
        ours.step(0.1)
    for name, parameter in named.items():
        rows = split_qkv(parameter.detach()[None], D)[0] if "qkv" in name else [parameter.detach()]
        for part, expected in zip(rows, apart[name], strict=True):
            torch.testing.assert_close(part, expected, atol=0.004, rtol=0)  # theirs is computed in bfloat16


def test_splitting_and_joining_queries_keys_and_values():
    weights = torch.arange(2 * 24 * 8.0).reshape(2, 24, 8)  # 2 layers, 2 heads of 4
    matrices = split_qkv(weights, 4)
    assert matrices.shape == (2, 3, 8, 8)
    assert torch.equal(matrices[0, 1, 4:], weights[0, 16:20])  # the keys of the second head
    assert torch.equal(join_qkv(matrices, 4), weights)
