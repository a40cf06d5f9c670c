"""What is shown of a run: one line of figures that changes, and a line for what is worth one."""

from __future__ import annotations

from pathlib import Path

import pytest

from glassgpt.cli.status import Status
from glassgpt.training.hooks import Evaluation, Sample, Spike, Update


@pytest.fixture
def shown() -> list[tuple[int, str]]:
    return []


@pytest.fixture
def status(shown) -> Status:
    return Status(lambda step, note: shown.append((step, note)), Path("runs/my"))


def test_figures_follow_the_updates(status, shown):
    status(Update(1, 64, 3.25, 1.5, 6e-4, 12_345.0, 0.5, memory=3 * 2**30))
    status(Evaluation(1, 64, 3.5, 2.25))
    status(Update(2, 128, 3.0, 0.5, 6e-4, 12_345.0, 1.0, mfu=0.4123, memory=3 * 2**30))
    assert shown == [
        (1, "loss 3.250 lr 6.0e-04 grad 1.50 12.3k tok/s 3.00 GiB"),
        (2, "loss 3.000 val 3.500 lr 6.0e-04 grad 0.50 12.3k tok/s MFU 41.2% 3.00 GiB"),
    ]


def test_a_sample_is_printed_and_cannot_steer_the_terminal(status, capsys):
    status(Sample(1_200, "ROMEO:", " But\nsoft \x1b[2J"))
    assert capsys.readouterr() == ("", "--- step 1,200 ---\nROMEO: But\nsoft \\x1b[2J\n")


def test_a_spike_says_how_to_look_at_its_batch(status, capsys):
    status(Spike(1_234, score=8.53, spike_loss=7.0, median_loss=3.0, windows=(4, 9)))
    assert capsys.readouterr().err == (
        "step 1,234: loss 7.000 is 8.5 deviations above the median 3.000; "
        "to see why: glassgpt replay runs/my --step 1234\n"
    )
