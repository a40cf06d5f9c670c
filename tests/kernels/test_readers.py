"""The kernels of a decoding step against their PyTorch twins; without a GPU, under Triton's interpreter."""

import pytest
import torch
import torch.nn.functional as F
from torch import nn

pytest.importorskip("triton", reason="triton is not installed")

from glassgpt.generation.steps import PlainReader
from glassgpt.kernels.decode_attention import attend_live, attend_parts
from glassgpt.kernels.few_rows_gpu import add_linear, add_linear_of_parts, norm_linear
from glassgpt.kernels.likeliest import likeliest
from glassgpt.kernels.readers import FusedReader, LiveReader
from glassgpt.model.cache import Cache
from glassgpt.model.config import ModelConfig
from glassgpt.model.gpt import GPT, initialize
from glassgpt.model.static_cache import StaticCache

DEVICE = "cuda" if torch.cuda.is_available() else "cpu"
GENERATOR = torch.Generator().manual_seed(1)
CLOSE = {"rtol": 1e-4, "atol": 1e-4}
pytestmark = pytest.mark.usefixtures("no_gradients")


@pytest.fixture
def no_gradients():
    with torch.inference_mode():
        yield


def random(*shape: int) -> torch.Tensor:
    return torch.randn(shape, generator=GENERATOR).to(DEVICE)


def linear(inputs: int, outputs: int, dtype: torch.dtype) -> nn.Linear:
    layer = nn.Linear(inputs, outputs, device=DEVICE)
    layer.weight.copy_(random(outputs, inputs) / inputs**0.5)
    layer.bias.copy_(random(outputs))
    return layer.to(dtype)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize(("C", "N"), [(48, 9), (1100, 3)])
def test_products_equal_the_modules(C, N, dtype):
    x, before = random(2, C), random(2, N)
    layer, norm = linear(C, N, dtype), nn.LayerNorm(C, device=DEVICE)
    norm.weight.copy_(random(C))
    norm.bias.copy_(random(C))
    norm = norm.to(dtype)
    normed = F.layer_norm(x, (C,), norm.weight.float(), norm.bias.float(), norm.eps)
    weight, bias = layer.weight.float(), layer.bias.float()
    torch.testing.assert_close(norm_linear(x, norm, layer.weight, None), F.linear(normed, weight), **CLOSE)
    expected = F.gelu(F.linear(normed, weight, bias), approximate="tanh")
    torch.testing.assert_close(norm_linear(x, norm, layer.weight, layer.bias, gelu=True), expected, **CLOSE)
    sum = before.clone()
    add_linear(sum, x, layer)
    torch.testing.assert_close(sum, before + F.linear(x, weight, bias), **CLOSE)


def test_the_likeliest_token_is_pytorchs():
    logits = 3 * random(3, 5000)
    logits[1, [17, 4000]] = 50.0  # of equals the first
    ids, logprobs = likeliest(logits)
    assert ids.tolist() == logits.argmax(-1).tolist()
    torch.testing.assert_close(logprobs, logits.log_softmax(-1).amax(-1), **CLOSE)


@pytest.mark.parametrize(("num_heads", "head_dim"), [(2, 16), (3, 10)])
def test_the_product_of_parts_is_that_of_their_attention(num_heads, head_dim):
    C = num_heads * head_dim
    q, k, v = random(2, num_heads, 1, head_dim), random(2, num_heads, 90, head_dim), random(2, num_heads, 90, head_dim)
    rows, slots = torch.tensor([0, 1], device=DEVICE), torch.tensor([[3], [89]], device=DEVICE)
    layer, x = linear(C, C, torch.float32), random(2, C)
    y = attend_live(q, k, v, rows, slots).transpose(1, 2).reshape(2, C)
    expected = x + layer(y)
    add_linear_of_parts(x, attend_parts(q, k, v, rows, slots, 4), layer)
    torch.testing.assert_close(x, expected, **CLOSE)


@pytest.mark.parametrize("settings", [{}, {"tied_head": False, "qkv_bias": False}])
def test_readers_say_what_the_model_says(settings):
    config = ModelConfig(vocab_size=19, context_length=16, emb_dim=16, num_heads=2, num_layers=2, **settings)
    model = initialize(GPT(config), seed=1).to(DEVICE).eval()
    for parameter in model.parameters():
        parameter.add_(random(*parameter.shape), alpha=0.1)
    caches = [StaticCache(Cache(config, 3, device=DEVICE), 2, reader.layer) for reader in (PlainReader, LiveReader)]
    caches.append(StaticCache(Cache(config, 3, device=DEVICE), 2, FusedReader.layer))
    for cache in caches:
        cache.load(rows=[2, 0], lengths=[0, 0])
    for _ in range(3):
        tokens = torch.randint(19, (2, 1), generator=GENERATOR).to(DEVICE)
        expected = PlainReader(model)(tokens, caches[0])
        torch.testing.assert_close(LiveReader(model)(tokens, caches[1]), expected, **CLOSE)
        torch.testing.assert_close(FusedReader(model)(tokens, caches[2]), expected, **CLOSE)
    assert caches[2].lengths.tolist() == [3, 3]
