"""Weights moved into huge pages: the same numbers, in one piece, still parameters that can be copied and changed."""

import copy
import mmap

import pytest
import torch

from glassgpt.kernels.arena import PAGE, huge_pages, use_huge_pages
from glassgpt.model.config import ModelConfig
from glassgpt.model.gpt import GPT, initialize

pytestmark = pytest.mark.skipif(not hasattr(mmap, "MADV_HUGEPAGE"), reason="no huge pages on this system")
WIDE = ModelConfig(vocab_size=2048, context_length=32, emb_dim=256, num_heads=4, num_layers=1)


@torch.no_grad()
def test_a_moved_model_is_the_same_model():
    model = initialize(GPT(WIDE), 1).eval()
    before, parameters = copy.deepcopy(model), dict(model.named_parameters())
    use_huge_pages(model)
    assert {name: id(p) for name, p in model.named_parameters()} == {name: id(p) for name, p in parameters.items()}
    assert all(torch.equal(a, b) for a, b in zip(model.parameters(), before.parameters(), strict=True))
    assert len({p.untyped_storage().data_ptr() for p in model.parameters()}) == 1
    copied = copy.deepcopy(model)
    model.final_norm.bias.fill_(1.0)
    assert torch.equal(copied.final_norm.bias, before.final_norm.bias)


def test_huge_pages_begin_at_one():
    memory = huge_pages(3 * PAGE)
    assert memory.numel() == 3 * PAGE and memory.data_ptr() % PAGE == 0


def test_a_small_model_stays_where_it_is(model):
    places = [p.data_ptr() for p in model.parameters()]
    use_huge_pages(model)
    assert [p.data_ptr() for p in model.parameters()] == places
