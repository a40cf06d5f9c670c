"""AdamW and Muon: what decays, what is orthogonalised, and a state that can be taken up again bit for bit."""

from __future__ import annotations

import pytest
import torch

from glassgpt.model.config import ModelConfig
from glassgpt.model.gpt import GPT, initialize
from glassgpt.training.config import OptimizerConfig
from glassgpt.training.optimizer import Optimizer, QKVSplit

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
    with pytest.raises(ValueError, match=r"no blocks.0.attention.out.weight.momentum_buffer of shape"):
        Optimizer(model, OptimizerConfig(name="muon")).restore(optimizer.tensors(), 1)


@NAMES
def test_the_size_of_the_state_is_known_before_the_first_step(name):
    model = make_model()
    optimizer = Optimizer(model, OptimizerConfig(name=name))
    expected = optimizer.num_bytes
    give_gradients(model, 0)
    optimizer.step(1e-3)
    assert sum(tensor.nbytes for tensor in optimizer.tensors().values()) == expected


def test_muon_treats_queries_keys_and_values_as_three_matrices():
    model = make_model()
    qkv = model.blocks[0].attention.qkv.weight
    give_gradients(model, 4)
    D, C = model.config.head_dim, model.config.emb_dim
    apart = [
        torch.stack([qkv.detach()[(3 * head + part) * D + dim] for head in range(2) for dim in range(D)])
        for part in range(3)
    ]
    gradients = [
        torch.stack([qkv.grad[(3 * head + part) * D + dim] for head in range(2) for dim in range(D)])
        for part in range(3)
    ]
    for matrix, gradient in zip(apart, gradients, strict=True):
        matrix.grad = gradient
    torch.optim.Muon(apart, lr=0.1, weight_decay=0.1, momentum=0.95, adjust_lr_fn="match_rms_adamw").step()
    Optimizer(model, OptimizerConfig(name="muon")).step(0.1)
    for part, matrix in zip(QKVSplit(qkv, D).parts(qkv.detach()), apart, strict=True):
        assert part.shape == (C, C)
        assert torch.equal(part, matrix)
