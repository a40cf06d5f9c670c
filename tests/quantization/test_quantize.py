"""Quantized models: near the original, equal to their PyTorch twins."""

import copy

import pytest
import torch

from glassgpt.kernels.blocks import use_fused_blocks
from glassgpt.kernels.few_rows import FewRows
from glassgpt.model.cache import Cache
from glassgpt.model.gpt import GPT, initialize
from glassgpt.quantization.int4 import Int4, quantize_int4
from glassgpt.quantization.int8 import Int8, quantize_int8

TOKENS = torch.randint(257, (2, 24), generator=torch.Generator().manual_seed(5))
# Logits of order 1 may move by this much.
LOOSE = {quantize_int8: 0.02, quantize_int4: 0.15}


# Equal up to steps of the 16 bits that inputs are rounded to: float32 sums in another order may round the other way.
@pytest.mark.parametrize("quantize", LOOSE)
@pytest.mark.parametrize("tied_head", [True, False])
@torch.inference_mode()
def test_a_quantized_model_is_near_the_original_and_decodes_as_its_twin(tiny, quantize, tied_head):
    original = initialize(GPT(tiny.model_copy(update={"tied_head": tied_head})), 1).eval()
    fast = copy.deepcopy(original)
    quantize(fast)
    use_fused_blocks(fast)
    cache = Cache(fast.config, 2)
    decoded = torch.cat([fast(piece, cache) for piece in TOKENS.split([12] + [1] * 12, dim=1)], dim=1)
    for layer in fast.modules():
        if isinstance(layer, FewRows):
            layer.most = 0  # its twin
    torch.testing.assert_close(decoded, fast(TOKENS), rtol=0, atol=1 / 32767)
    torch.testing.assert_close(decoded, original(TOKENS), rtol=0, atol=LOOSE[quantize])


def test_int8_is_within_half_a_step():
    weight = torch.randn(33, 50, generator=torch.Generator().manual_seed(1))
    stored = Int8.of(weight)
    assert ((stored.dense() - weight).abs() <= stored.scales[:, None] * 0.5001).all()


@pytest.mark.parametrize("group", [32, 64, 128])
def test_int4_rows_are_those_of_the_whole(group):
    weight = torch.randn(37, 100, generator=torch.Generator().manual_seed(1))
    stored, ids = Int4.of(weight, group), torch.tensor([[3, 36], [0, 17]])
    assert torch.equal(stored.rows(ids), stored.dense()[ids])
    assert (stored.dense() - weight).square().mean().sqrt() < 0.15


@pytest.mark.parametrize("quantize", LOOSE)
def test_every_device_can_compute_it(model, quantize):
    """Nothing in PyTorch's way through the layers belongs to the CPU: shapes alone go through it too."""
    quantize(model)
    assert model.to("meta")(TOKENS.to("meta")).shape == (2, 24, 257)


def test_what_a_file_holds_makes_the_same_matrix():
    weight = torch.randn(37, 100, generator=torch.Generator().manual_seed(1))
    int8, int4 = Int8.of(weight), Int4.of(weight, 64)
    for matrix, again in [(int8, Int8.stored(*int8.plain())), (int4, Int4.stored(*int4.plain(), 64))]:
        numbers, scales = matrix.plain()
        assert (numbers.dtype, numbers.shape, len(scales)) == (torch.int8, (37, 100), 37)
        assert torch.equal(again.dense(), matrix.dense())


@pytest.mark.parametrize("quantize", LOOSE)
def test_zeros_stay_zeros(quantize):
    stored = Int8.of(torch.zeros(5, 40)) if quantize is quantize_int8 else Int4.of(torch.zeros(5, 40), 32)
    assert torch.equal(stored.dense(), torch.zeros(5, 40))


def test_a_group_that_is_not_there_is_refused(model):
    with pytest.raises(ValueError, match="int4 has no groups of 48: choose one of 32, 64, 128"):
        quantize_int4(model, 48)
