"""MFU is one formula, and is not given where one of its numbers is not known."""

from __future__ import annotations

import pytest

from glassgpt.model.config import ModelConfig
from glassgpt.model.flops import training_flops
from glassgpt.training.utilization import Utilization

H100 = "NVIDIA H100 80GB HBM3"


def test_it_is_work_done_over_work_possible():
    flops = training_flops(ModelConfig(), 1024, causal=False)
    used = Utilization(flops, H100, "bfloat16", num_devices=2)
    assert used.share(1_000_000) == pytest.approx(1e6 * flops / (2 * 989e12))
    assert str(used) == f"MFU = tokens/s x 0.854 GFLOP a token / 1,978 TFLOP/s (2 x {H100}, bfloat16, data sheet)"


@pytest.mark.parametrize(("device", "dtype"), [("cpu", "float32"), (H100, "tf32"), ("Tesla T4", "bfloat16")])
def test_a_peak_that_is_not_known_is_not_made_up(device, dtype):
    used = Utilization(854_000_000, device, dtype)
    assert used.share(1_000_000) is None
    assert str(used) == f"no MFU: a token takes 0.854 GFLOP, but no peak rate of {device} in {dtype} is known"


def test_a_run_knows_its_own(make_run):
    run = make_run()
    assert run.utilization.flops == training_flops(run.model.config, run.context_length, causal=False)
    assert run.utilization.device == "cpu"
