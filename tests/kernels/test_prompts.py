"""Prompts read in bfloat16: the same hidden states as by the plain model, whole, in pieces and side by side."""

import copy

import pytest
import torch

from glassgpt.kernels.few_rows import use_few_rows
from glassgpt.kernels.prompts import is_available, read_prompt
from glassgpt.model.cache import Cache
from glassgpt.model.gpt import GPT, initialize
from glassgpt.quantization.precision import narrow, use_precision

pytestmark = pytest.mark.skipif(not is_available(), reason="no bfloat16 by oneDNN on this processor")
TOKENS = torch.randint(257, (2, 24), generator=torch.Generator().manual_seed(5))
# Hidden states are of order 1, and a bfloat16 has eight bits: both ways are this far from float32.
LOOSE = 0.03


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
def test_hidden_states_and_cache_are_those_of_the_plain_model(models, pieces):
    narrowed, original = models
    cache, expected_cache = Cache(original.config, 2), Cache(original.config, 2)
    hidden = torch.cat([read_prompt(narrowed, piece, cache) for piece in TOKENS.split(pieces, dim=1)], dim=1)
    torch.testing.assert_close(hidden, original.hidden(TOKENS, expected_cache), rtol=0, atol=LOOSE)
    assert cache.lengths == expected_cache.lengths
    for layer, expected in zip(cache.layers, expected_cache.layers, strict=True):
        torch.testing.assert_close(layer.k, expected.k, rtol=0, atol=LOOSE)
        torch.testing.assert_close(layer.v, expected.v, rtol=0, atol=LOOSE)


@torch.inference_mode()
def test_rows_of_different_length(models):
    narrowed, original = models
    caches = [Cache(original.config, 2), Cache(original.config, 2)]
    read_prompt(narrowed, TOKENS[:, :12], caches[0])
    original.hidden(TOKENS[:, :12], caches[1])
    for cache in caches:
        cache.rewind([12, 5])
    hidden, expected = read_prompt(narrowed, TOKENS[:, 12:], caches[0]), original.hidden(TOKENS[:, 12:], caches[1])
    torch.testing.assert_close(hidden, expected, rtol=0, atol=LOOSE)


@torch.inference_mode()
def test_a_bfloat16_model_reads_its_prompts_this_way(tiny):
    model = initialize(GPT(tiny), 1).eval()
    use_precision(model, "bfloat16")
    expected = read_prompt(model, TOKENS, Cache(tiny, 2))
    assert torch.equal(model.hidden(TOKENS, Cache(tiny, 2)), expected)
