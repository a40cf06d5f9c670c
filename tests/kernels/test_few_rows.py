"""The compiled kernels against their PyTorch twins, for every storage and every instruction set of this processor."""

import copy
import ctypes
import os
import subprocess
import sys

import pytest
import torch

from glassgpt.kernels.blocks import use_fused_blocks
from glassgpt.kernels.compiled import library
from glassgpt.kernels.few_rows import Matrix, float_matrix, product, rounded, use_few_rows
from glassgpt.model.cache import Cache
from glassgpt.model.config import ModelConfig
from glassgpt.model.gpt import GPT, initialize, use_attention
from glassgpt.quantization.int4 import Int4
from glassgpt.quantization.int8 import Int8

BEST = torch.backends.cpu.get_cpu_capability()
SETS = [name for name in ("DEFAULT", "AVX2", "AVX512") if name in ("DEFAULT", BEST) or BEST == "AVX512"]
pytestmark = pytest.mark.skipif(library() is None, reason="no C++ compiler")


def random(*shape: int) -> torch.Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize("instructions", SETS)
@pytest.mark.parametrize(("out", "inputs"), [(768, 768), (67, 96), (50, 50), (3, 7)])
def test_every_storage_equals_the_dense_product(instructions, out, inputs):
    lib: ctypes.CDLL = library(instructions)
    weight, bias, x = random(out, inputs), random(out), random(7, inputs)
    int8, int4 = Int8.of(weight), Int4.of(weight, 32)
    stored = [
        (float_matrix(weight, bias), x, weight),
        (float_matrix(half := weight.bfloat16(), bias), x, half.float()),
        (int8.fields(bias), rounded(x), int8.dense()),
        (int4.fields(bias), rounded(x), int4.dense()),
    ]
    for fields, taken, dense in stored:
        for rows in (1, 2, 3, 7):
            expected = torch.addmm(bias, taken[:rows], dense.T)
            torch.testing.assert_close(product(x[:rows], Matrix(*fields), lib), expected, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("instructions", SETS)
def test_a_row_gives_the_same_bits_beside_any_others(instructions):
    weight, bias, x = random(67, 768), random(67), random(17, 768)
    half, int8, int4 = weight.bfloat16(), Int8.of(weight), Int4.of(weight, 32)
    for fields in (float_matrix(weight, bias), float_matrix(half, bias), int8.fields(bias), int4.fields(bias)):
        alone = torch.cat([product(row, Matrix(*fields), library(instructions)) for row in x.split(1)])
        for rows in range(2, 18):
            assert torch.equal(product(x[:rows], Matrix(*fields), library(instructions)), alone[:rows])


def test_any_number_of_threads_gives_the_same_bits():
    x, weight = random(3, 64), random(1000, 64)
    fields = float_matrix(weight, None)
    before, most = torch.get_num_threads(), 40  # more than the outputs have shares
    results = []
    for threads in (1, 2, 3, most):
        torch.set_num_threads(threads)
        results.append(product(x, Matrix(*fields)))
    torch.set_num_threads(before)
    assert all(torch.equal(result, results[0]) for result in results)


@pytest.mark.parametrize("instructions", SETS)
@pytest.mark.parametrize("number", [float("nan"), float("inf")])
def test_what_is_not_finite_does_not_vanish_in_integers(instructions, number):
    x = random(1, 200)
    x[0, 3] = number
    for stored in (Int8.of(random(33, 200)), Int4.of(random(33, 200), 32)):
        assert not product(x, Matrix(*stored.fields(None)), library(instructions)).isfinite().any()
        assert not (rounded(x) @ stored.dense().T).isfinite().any()


@pytest.mark.parametrize("head_dim", [16, 10])
@torch.inference_mode()
def test_all_blocks_at_once_equal_the_plain_model(head_dim):
    config = ModelConfig(vocab_size=257, context_length=32, emb_dim=3 * head_dim, num_heads=3, num_layers=3)
    plain = initialize(GPT(config), 1).eval()
    fast = copy.deepcopy(plain)
    use_few_rows(fast)
    use_fused_blocks(fast)
    fast = copy.deepcopy(fast)  # a copy has blocks of its own
    tokens = torch.randint(257, (3, 24), generator=torch.Generator().manual_seed(2))
    caches = [Cache(config, 3), Cache(config, 3)]
    for piece in tokens.split([12, 1, 2, 1, 1, 2, 5], dim=1):
        expected, result = (model(piece, cache) for model, cache in zip((plain, fast), caches, strict=True))
        torch.testing.assert_close(result, expected, rtol=0, atol=1e-5)
    for cache in caches:
        cache.select([2, 0])
        cache.rewind([20, 11])
    expected, result = (model(tokens[:2, :1], cache) for model, cache in zip((plain, fast), caches, strict=True))
    torch.testing.assert_close(result, expected, rtol=0, atol=1e-5)


@torch.inference_mode()
def test_another_attention_and_hooks_are_respected(model):
    use_few_rows(model)
    use_fused_blocks(model)
    seen = []
    handle = model.blocks[1].mlp.register_forward_hook(lambda *_: seen.append("hook"))
    model(torch.tensor([[1]]), Cache(model.config, 1))
    handle.remove()
    use_attention(model, lambda q, k, v, visible, dropout: seen.append("attention") or v[:, :, -1:])
    model(torch.tensor([[1]]), Cache(model.config, 1))
    assert seen == ["hook"] + ["attention"] * 3


def test_without_a_compiler_pytorch_does_the_work_and_says_so_once(tmp_path):
    code = (
        "import logging; logging.basicConfig()\n"
        "from glassgpt.kernels.compiled import library\n"
        "assert library() is None and library() is None"
    )
    environment = {**os.environ, "CXX": "/nowhere/c++", "XDG_CACHE_HOME": str(tmp_path)}
    result = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, timeout=120)
    assert result.returncode == 0, result.stderr
    assert result.stderr.count("no compiled kernels") == 1
