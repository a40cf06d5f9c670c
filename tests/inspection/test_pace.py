"""What is timed is what it is called; how long it takes is the machine's business."""

import pytest
import torch

from glassgpt.inspection.machine import machine, read_rate
from glassgpt.inspection.pace import Pace, bytes_a_pass
from glassgpt.model.config import ModelConfig
from glassgpt.model.gpt import GPT, initialize
from glassgpt.quantization.precision import use_precision


def test_a_round_reads_each_prompt_once_and_then_single_tokens(model):
    passes = []
    hidden = model.hidden
    model.hidden = lambda tokens, cache: passes.append(tuple(tokens.shape)) or hidden(tokens, cache)
    pace = Pace(model, batch=3, prompt_tokens=10, new_tokens=5)
    for _ in range(2):
        measured = pace.round()
        assert passes == [(3, 10), *[(3, 1)] * 4]  # the first of the new tokens comes with the prompt
        assert measured.prefill == pytest.approx(30 / measured.first_token)
        assert measured.decode > 0
        passes.clear()


@pytest.mark.parametrize("is_tied", [True, False])
def test_a_pass_reads_all_weights_but_those_it_looks_up(is_tied):
    config = ModelConfig(vocab_size=100, context_length=16, emb_dim=8, num_heads=2, num_layers=2, tied_head=is_tied)
    looked_up = 16 * 8 + (0 if is_tied else 100 * 8)
    assert bytes_a_pass(GPT(config)) == 4 * (config.num_parameters - looked_up)


def test_fewer_bits_are_fewer_bytes():
    config = ModelConfig(vocab_size=512, context_length=16, emb_dim=128, num_heads=2, num_layers=2)
    sizes = []
    for precision in ("float32", "bfloat16", "int8", "int4"):
        model = initialize(GPT(config), seed=1).eval()
        use_precision(model, precision)
        sizes.append(bytes_a_pass(model))
    assert sizes == sorted(sizes, reverse=True)
    assert sizes[0] / sizes[1] == pytest.approx(2, rel=0.05)


@pytest.mark.parametrize(
    ("sizes", "message"),
    [
        ((1, 30, 3), "prompt and new tokens are 33, the context holds 32"),
        ((0, 5, 5), "a batch of 0"),
        ((1, 5, 1), "1 new ones cannot be timed"),
    ],
)
def test_what_cannot_be_timed_is_refused(model, sizes, message):
    with pytest.raises(ValueError, match=message):
        Pace(model, *sizes)


def test_the_machine_is_described():
    about = machine(torch.device("cpu"))
    assert about["torch"] == torch.__version__
    assert about["processor"] and about["threads"] > 0
    assert read_rate(torch.device("cpu")) > 1e8
