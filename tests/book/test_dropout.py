"""The two samplers of dropout. That they are the real ones is shown by the logits they lead to (test_verify.py)."""

import pytest
import torch
import torch.nn.functional as F

from glassgpt.book.dropout import DEFAULT, MKL, SAMPLERS, drawn_by, own_sampler


def test_this_machine_has_one_of_them_or_another():
    state = torch.get_rng_state()
    assert own_sampler() in (DEFAULT, MKL, None)
    assert torch.equal(torch.get_rng_state(), state)


@pytest.mark.parametrize("name", SAMPLERS)
def test_a_sampler_takes_the_place_of_dropout_for_a_while(name):
    x = torch.ones(100, 1000)
    torch.manual_seed(0)
    kept = SAMPLERS[name](x.numel(), 0.9).view_as(x)
    torch.manual_seed(0)
    with drawn_by(name):
        dropped = F.dropout(x, 0.1)
        assert torch.equal(F.dropout(x, 0.1, training=False), x)
    assert torch.allclose(dropped, kept / 0.9)
    assert kept.float().mean().item() == pytest.approx(0.9, abs=0.005)


def test_the_two_differ_from_the_same_state():
    masks = []
    for sample in SAMPLERS.values():
        torch.manual_seed(123)
        masks.append(sample(1000, 0.9))
    assert not torch.equal(*masks)


def test_mkl_takes_one_draw_from_pytorch_however_long_the_mask():
    torch.manual_seed(123)
    SAMPLERS[MKL](5000, 0.9)
    after = torch.rand(1)
    torch.manual_seed(123)
    assert after == torch.rand(2)[1]
