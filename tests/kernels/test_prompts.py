"""Prompts read in bfloat16: the same hidden states as by the plain model, whole, in pieces and side by side."""

import copy
from functools import partial

import pytest
import torch

from glassgpt.kernels.blocks import Prepared
from glassgpt.kernels.few_rows import use_few_rows
from glassgpt.kernels.prompts import is_available, library, read_prompt
from glassgpt.model.cache import Cache
from glassgpt.model.config import ModelConfig
from glassgpt.model.gpt import GPT, initialize
from glassgpt.quantization.precision import narrow, use_precision

pytestmark = pytest.mark.skipif(not is_available(), reason="no bfloat16 by oneDNN on this processor")
TOKENS = torch.randint(257, (2, 24), generator=torch.Generator().manual_seed(5))
# Hidden states are of order 1, and a bfloat16 has eight bits: both ways are this far from float32.
LOOSE = 0.03

BEST = torch.backends.cpu.get_cpu_capability()
SETS = [name for name in ("DEFAULT", "AVX2", "AVX512") if name in ("DEFAULT", BEST) or BEST == "AVX512"]
if torch.cpu._is_avx512_bf16_supported():
    SETS.append("AVX512_BF16")


@pytest.fixture(params=["oneDNN", *SETS])
def read(request):
    """Reads a prompt by oneDNN, or by the library for each instruction set of this processor."""
    return read_prompt if request.param == "oneDNN" else partial(by_library, request.param)


def by_library(instructions, model, tokens, cache):
    x = model.token_embedding(tokens) + model.position_embedding(cache.begin(tokens.shape[1]))
    Prepared(model, cache).run(library(instructions).glassgpt_prompt, x, cache)
    cache.end(tokens.shape[1])
    return model.final_norm(x)


@pytest.fixture
def models(tiny) -> tuple[GPT, GPT]:
    """One with bfloat16 matrices, and the float32 model it was."""
    original = initialize(GPT(tiny), 1).eval()
    narrowed = copy.deepcopy(original)
    narrow(narrowed)
    use_few_rows(narrowed)
    return narrowed, original


@pytest.mark.parametrize("pieces", [[24], [9, 15], [1, 22, 1]])
@torch.inference_mode()
def test_hidden_states_and_cache_are_those_of_the_plain_model(models, read, pieces):
    narrowed, original = models
    cache, expected_cache = Cache(original.config, 2), Cache(original.config, 2)
    hidden = torch.cat([read(narrowed, piece, cache) for piece in TOKENS.split(pieces, dim=1)], dim=1)
    torch.testing.assert_close(hidden, original.hidden(TOKENS, expected_cache), rtol=0, atol=LOOSE)
    assert cache.lengths == expected_cache.lengths
    for layer, expected in zip(cache.layers, expected_cache.layers, strict=True):
        torch.testing.assert_close(layer.k, expected.k, rtol=0, atol=LOOSE)
        torch.testing.assert_close(layer.v, expected.v, rtol=0, atol=LOOSE)


@torch.inference_mode()
def test_rows_of_different_length(models, read):
    narrowed, original = models
    caches = [Cache(original.config, 2), Cache(original.config, 2)]
    read(narrowed, TOKENS[:, :12], caches[0])
    original.hidden(TOKENS[:, :12], caches[1])
    for cache in caches:
        cache.rewind([12, 5])
    hidden, expected = read(narrowed, TOKENS[:, 12:], caches[0]), original.hidden(TOKENS[:, 12:], caches[1])
    torch.testing.assert_close(hidden, expected, rtol=0, atol=LOOSE)


@torch.inference_mode()
def test_a_bfloat16_model_reads_its_prompts_this_way(tiny):
    model = initialize(GPT(tiny), 1).eval()
    use_precision(model, "bfloat16")
    way = partial(by_library, None) if library() else read_prompt
    assert torch.equal(model.hidden(TOKENS, Cache(tiny, 2)), way(model, TOKENS, Cache(tiny, 2)))


@pytest.mark.parametrize("instructions", SETS)
@torch.inference_mode()
def test_a_token_gets_the_same_bits_in_any_company(instructions):
    """Panels of tokens begin and end anywhere in sequences, which are longer than several of them."""
    config = ModelConfig(vocab_size=257, context_length=200, emb_dim=32, num_heads=2, num_layers=2)
    model = initialize(GPT(config), 1).eval()
    use_precision(model, "bfloat16")
    tokens = torch.randint(257, (3, 130), generator=torch.Generator().manual_seed(5))
    together, cache = by_library(instructions, model, tokens, Cache(config, 3)), Cache(config, 3)
    pieces = [by_library(instructions, model, piece, cache) for piece in tokens.split([1, 47, 60, 22], dim=1)]
    assert torch.equal(torch.cat(pieces, dim=1), together)
    for b in range(3):
        assert torch.equal(by_library(instructions, model, tokens[b : b + 1], Cache(config, 1))[0], together[b])
    torch.testing.assert_close(together, GPT.hidden(model, tokens, Cache(config, 3)), rtol=0, atol=LOOSE)
