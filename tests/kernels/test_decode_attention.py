"""The kernels of decode attention against their PyTorch twins; without a GPU, under Triton's interpreter."""

import pytest
import torch

pytest.importorskip("triton", reason="triton is not installed")

from glassgpt.kernels import decode_attention
from glassgpt.kernels.decode_attention import DecodeAttention, attend_live, parts, static_cache
from glassgpt.model import static_cache as plain
from glassgpt.model.attention import attend
from glassgpt.model.cache import Cache
from glassgpt.model.gpt import use_attention

DEVICE = "cuda" if torch.cuda.is_available() else "cpu"
GENERATOR = torch.Generator().manual_seed(1)


def random(*shape: int, dtype: torch.dtype = torch.float32) -> torch.Tensor:
    return torch.randn(shape, generator=GENERATOR).to(DEVICE, dtype)


@pytest.mark.parametrize("num_parts", [1, 4])
@pytest.mark.parametrize(("head_dim", "T"), [(64, 1), (16, 3), (80, 1)])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_rows_of_any_length_equal_the_masked_twin(num_parts, head_dim, T, dtype):
    S = 200
    q = random(4, T, 3, head_dim, dtype=dtype).transpose(1, 2)  # (B, H, T, D), as it comes from the projection
    k, v = random(2, 4, 3, S, head_dim, dtype=dtype)
    lengths = torch.tensor([0, 5, 64, S - T], device=DEVICE)
    slots = lengths[:, None] + torch.arange(T, device=DEVICE)
    visible = (torch.arange(S, device=DEVICE) <= slots[:, :, None])[:, None]
    expected = attend(q.float(), k.float(), v.float(), visible, 0.0)
    tolerance = 1e-5 if dtype == torch.float32 else 1e-2
    result = attend_live(q, k, v, slots, num_parts)
    assert result.dtype == dtype
    torch.testing.assert_close(result.float(), expected, rtol=tolerance, atol=tolerance)


def test_keys_beyond_the_length_are_not_read():
    q, k, v = random(1, 2, 1, 16), random(1, 2, 128, 16), random(1, 2, 128, 16)
    k[:, :, 70:] = v[:, :, 70:] = torch.nan
    assert attend_live(q, k, v, torch.tensor([[69]], device=DEVICE)).isfinite().all()


def test_storing_equals_the_twin():
    k, v = random(2, 3, 2, 4, 10).transpose(2, 3)  # (B, H, T, D) of two tokens for each of three rows
    slots = torch.tensor([[0, 1], [5, 6], [9, 10]], device=DEVICE)
    expected, result = torch.zeros(2, 2, 3, 4, 16, 10, device=DEVICE)
    plain.store(*expected, k, v, slots)
    decode_attention.store(*result, k, v, slots)
    assert torch.equal(result, expected)


@torch.inference_mode()
def test_a_model_over_a_static_cache_says_what_it_says_over_a_plain_one(model):
    model = model.to(DEVICE)
    tokens = torch.randint(257, (3, 20), generator=GENERATOR).to(DEVICE)
    caches = [Cache(model.config, 3, device=DEVICE) for _ in range(2)]
    for cache in caches:
        model(tokens[:, :10], cache)
        cache.rewind([10, 4, 7])
    static = static_cache(caches[1])
    use_attention(model, DecodeAttention(static))
    for step in range(10, 20):
        piece = tokens[:, step : step + 1]
        torch.testing.assert_close(model(piece, static), model(piece, caches[0]), rtol=0, atol=1e-5)
    assert static.lengths.tolist() == caches[0].lengths


def test_parts_fill_the_device_and_no_more():
    assert [parts(12, 1024), parts(12, 128), parts(12 * 64, 1024), parts(1, 32)] == [16, 2, 1, 1]
