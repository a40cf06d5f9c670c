"""A model with quantized matrices equals the plain model that has the same matrices as floating-point numbers: by every
library that this processor can run and by PyTorch alone, however the tokens are read."""

import pytest
import torch
from torch import Tensor

from glassgpt.kernels import blocks, few_rows
from glassgpt.kernels.compiled import library
from glassgpt.model.cache import Cache
from glassgpt.model.config import ModelConfig
from glassgpt.model.gpt import GPT, initialize
from glassgpt.model.skeleton import skeleton
from glassgpt.quantization.matrix import matrices
from glassgpt.quantization.precision import precision_of, use_precision

BEST = torch.backends.cpu.get_cpu_capability()
LIBRARIES = [name for name in ("DEFAULT", "AVX2", "AVX512") if name in ("DEFAULT", BEST) or BEST == "AVX512"]
TOKENS = torch.randint(257, (3, 24), generator=torch.Generator().manual_seed(5))

# How far logits of up to 3 may be off. Layers over integers round what goes in to 16 bits; bfloat16 ones multiply more
# than a few rows in 8.
TOLERANCES = {"float32": 1e-5, "int8": 6e-4, "int4": 6e-4, "bfloat16": 0.05}
WIDTHS = {48: 3, 60: 3, 51: 3}  # -> heads; 60 and 51 leave groups, vectors and bytes half filled


def at_once(model: GPT) -> Tensor:
    return model(TOKENS)


def prefill_and_decode(model: GPT) -> Tensor:
    cache = Cache(model.config, 3)
    return torch.cat([model(piece, cache) for piece in TOKENS.split([12, *[1] * 12], dim=1)], dim=1)


def a_few_at_a_time(model: GPT) -> Tensor:
    cache = Cache(model.config, 3)
    return torch.cat([model(piece, cache) for piece in TOKENS.split([1, 2, 3, 5, 8, 5], dim=1)], dim=1)


def ragged(model: GPT) -> Tensor:
    """Rows of 9, 4 and 6 tokens go on together, and end one by one."""
    cache, lengths = Cache(model.config, 3), [9, 4, 6]
    start = model(TOKENS[:, :9], cache)
    cache.rewind(lengths)
    found = [[start[row, :length]] for row, length in enumerate(lengths)]
    for step in range(15):
        now = model(torch.stack([TOKENS[row, length + step] for row, length in enumerate(lengths)])[:, None], cache)
        for row in range(3):
            found[row].append(now[row])
    return torch.cat([torch.cat(row)[:19] for row in found])


READINGS = [at_once, prefill_and_decode, a_few_at_a_time, ragged]


def build(precision: str, width: int, tied_head: bool) -> GPT:
    """A tiny model whose logits go up to 3."""
    sizes = {"vocab_size": 257, "context_length": 32, "num_layers": 3, "tied_head": tied_head}
    model = initialize(GPT(ModelConfig(emb_dim=width, num_heads=WIDTHS[width], **sizes)), seed=1).eval()
    for name, parameter in model.named_parameters():
        if "norm" not in name:
            parameter.data.mul_(5.0)
    use_precision(model, precision)
    return model


def dequantized(model: GPT) -> GPT:
    """The plain model with the numbers that the matrices of this one stand for."""
    plain = skeleton(model.config)
    state = {name: parameter.float() for name, parameter in model.named_parameters()}
    state |= {name: matrix.dense() for name, matrix in matrices(model).items()}
    plain.load_state_dict(state, assign=True)
    return plain.eval()


@pytest.mark.parametrize("instructions", [*LIBRARIES, None])
@pytest.mark.parametrize("tied_head", [True, False])
@pytest.mark.parametrize("width", WIDTHS)
@pytest.mark.parametrize("precision", TOLERANCES)
@torch.inference_mode()
def test_logits_are_those_of_the_dequantized_model(monkeypatch, instructions, tied_head, width, precision):
    if instructions and library(instructions) is None:
        pytest.skip("no C++ compiler")
    model = build(precision, width, tied_head)
    assert precision_of(model) == precision
    plain = dequantized(model)
    asked = []
    for module in (few_rows, blocks):
        monkeypatch.setattr(module, "library", lambda: asked.append(1) or (instructions and library(instructions)))
    for reading in READINGS:
        expected = reading(plain)
        assert 2 < expected.abs().max() < 4
        difference = (reading(model) - expected).abs().max()
        assert difference <= TOLERANCES[precision], reading.__name__
    assert asked  # the library was not passed by


@torch.inference_mode()
def test_a_matrix_that_is_one_step_off_is_noticed():
    """The positive control: one number of one matrix, by one step of its scale."""
    model = build("int8", 48, tied_head=True)
    plain = dequantized(model)
    plain.blocks[1].mlp.up.weight.data[7, 5] += model.blocks[1].mlp.up.weight.scales[7]
    assert (at_once(model) - at_once(plain)).abs().max() > TOLERANCES["int8"]
