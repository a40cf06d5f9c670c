"""The kernels of decode attention against their PyTorch twins; without a GPU, under Triton's interpreter."""

import pytest
import torch

pytest.importorskip("triton", reason="triton is not installed")

from glassgpt.kernels.decode_attention import DecodeAttention, LiveLayer, attend_live, parts
from glassgpt.model.attention import attend
from glassgpt.model.cache import Cache
from glassgpt.model.gpt import use_attention
from glassgpt.model.static_cache import StaticCache

DEVICE = "cuda" if torch.cuda.is_available() else "cpu"
GENERATOR = torch.Generator().manual_seed(1)


def random(*shape: int, dtype: torch.dtype = torch.float32) -> torch.Tensor:
    return torch.randn(shape, generator=GENERATOR).to(DEVICE, dtype)


@pytest.mark.parametrize("num_parts", [1, 4])
@pytest.mark.parametrize(("head_dim", "T"), [(64, 1), (16, 3), (80, 1)])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_rows_of_any_length_equal_the_masked_twin(num_parts, head_dim, T, dtype):
    S = 140
    q = random(4, T, 3, head_dim, dtype=dtype).transpose(1, 2)  # (B, H, T, D), as it comes from the projection
    k, v = random(2, 4, 3, S, head_dim, dtype=dtype)
    rows = torch.tensor([2, 0, 3, 1], device=DEVICE)
    lengths = torch.tensor([0, 5, 64, S - T], device=DEVICE)
    slots = lengths[:, None] + torch.arange(T, device=DEVICE)
    visible = (torch.arange(S, device=DEVICE) <= slots[:, :, None])[:, None]
    expected = attend(q.float(), k[rows].float(), v[rows].float(), visible, 0.0)
    tolerance = 1e-5 if dtype == torch.float32 else 1e-2
    result = attend_live(q, k, v, rows, slots, num_parts)
    assert result.dtype == dtype
    torch.testing.assert_close(result.float(), expected, rtol=tolerance, atol=tolerance)


def test_keys_beyond_the_length_are_not_read():
    q, k, v = random(1, 2, 1, 16), random(1, 2, 128, 16), random(1, 2, 128, 16)
    k[:, :, 70:] = v[:, :, 70:] = torch.nan
    rows, slots = torch.tensor([0], device=DEVICE), torch.tensor([[69]], device=DEVICE)
    assert attend_live(q, k, v, rows, slots).isfinite().all()


@torch.inference_mode()
def test_a_model_over_a_static_cache_says_what_it_says_over_a_plain_one(model):
    model = model.to(DEVICE)
    tokens = torch.randint(257, (3, 20), generator=GENERATOR).to(DEVICE)
    plain, first, second = caches = [Cache(model.config, 4, device=DEVICE) for _ in range(3)]
    for cache in caches:
        cache.select([3, 0, 2])
        model(tokens[:, :10], cache)
        cache.rewind([10, 4, 7])
    static, live = StaticCache(first, 3), StaticCache(second, 3, LiveLayer)
    for cache in (static, live):
        cache.load(rows=[3, 0, 2], lengths=[10, 4, 7])
    for step in range(10, 20):
        piece = tokens[:, step : step + 1]
        expected = model(piece, plain)
        torch.testing.assert_close(model(piece, static), expected, rtol=1e-4, atol=1e-4)
        use_attention(model, DecodeAttention(live.rows))
        torch.testing.assert_close(model(piece, live), expected, rtol=1e-4, atol=1e-4)
        use_attention(model, attend)
    assert static.lengths.tolist() == live.lengths.tolist() == plain.lengths
    for stored in zip(plain.layers, static.layers, live.layers, strict=True):
        for layer in stored[1:]:
            torch.testing.assert_close((layer.k, layer.v), (stored[0].k, stored[0].v), rtol=1e-4, atol=1e-4)


def test_parts_fill_the_device_and_no_more():
    assert [parts(12, 1024), parts(12, 128), parts(12 * 64, 1024), parts(1, 32)] == [16, 2, 1, 1]
