"""The parts of a step are timed and put together; only what does not depend on the machine is asserted."""

from __future__ import annotations

import pytest
import torch

from glassgpt.training.calibration import Pace, Part, calibrate, warm_up
from glassgpt.training.config import ModelShape, OptimizerConfig, RunConfig

SHAPE = ModelShape(context_length=16, emb_dim=32, num_heads=2, num_layers=2)


def test_a_step_is_the_sum_of_its_parts():
    pace = Pace(block=2.0, ends=3.0, micro_step=10.0, update=100.0)
    assert pace.token(num_layers=4) == 11.0
    assert pace.step(num_layers=4, tokens=5, micro_steps=2) == 2 * (10 + 5 * (4 * 2 + 3)) + 100


@pytest.mark.parametrize("optimizer", ["adamw", "muon"])
@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_every_precision_and_optimizer_has_a_pace(precision, optimizer):
    config = RunConfig(
        batch_size=4, precision=precision, model=SHAPE, optimizer=OptimizerConfig(name=optimizer), device="cpu"
    )
    pace = calibrate(config, vocab_size=300)
    assert pace.block > 0 and pace.update > 0 and pace.ends >= 0 and pace.micro_step >= 0


def test_timing_draws_nothing_that_training_would_draw():
    torch.manual_seed(1)
    expected = torch.rand(3)
    torch.manual_seed(1)
    calibrate(RunConfig(batch_size=4, model=SHAPE, device="cpu"), vocab_size=300)
    assert torch.equal(torch.rand(3), expected)


def test_a_process_holds_something_before_there_is_a_model():
    assert warm_up(RunConfig(device="cpu")) > 50e6


def test_the_ends_of_a_model_have_no_block():
    config = RunConfig(model=SHAPE, device="cpu")
    part = Part(config, SHAPE.build_config(300).model_copy(update={"num_layers": 1}), has_block=False)
    assert not any(name.startswith("blocks") for name, _ in part.model.named_parameters())
