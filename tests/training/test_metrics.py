"""metrics.jsonl follows the checkpoints."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from glassgpt.training.hooks import Evaluation, Sample, Saved, Spike, Update
from glassgpt.training.metrics import LOST, METRICS, MetricsLog, last_losses, read


def update(step: int) -> Update:
    return Update(step, tokens=64 * step, loss=3.25, grad_norm=1.5, lr=1e-3, tokens_per_second=100.0, seconds=0.5)


def test_events_become_lines(tmp_path):
    with MetricsLog(tmp_path) as log:
        log(update(1))
        log(Evaluation(1, tokens=64, val_loss=3.5, bits_per_byte=2.25))
    first, second = read(tmp_path / METRICS)
    assert first["loss"] == 3.25 and first["step"] == 1
    assert second == {"step": 1, "tokens": 64, "val_loss": 3.5, "bits_per_byte": 2.25}


def test_samples_and_spikes_become_lines_that_are_no_updates(tmp_path):
    with MetricsLog(tmp_path) as log:
        log(update(1))
        log(Sample(1, "ROMEO:", " But soft"))
        log(Spike(1, score=8.5, spike_loss=7.0, median_loss=3.0, windows=(4, 9)))
        log(Saved(1, tmp_path))
    _, sample, spike = read(tmp_path / METRICS)
    assert sample == {"step": 1, "prompt": "ROMEO:", "text": " But soft"}
    assert spike == {"step": 1, "score": 8.5, "spike_loss": 7.0, "median_loss": 3.0, "windows": [4, 9]}
    assert last_losses(tmp_path / METRICS, 5) == [3.25]


def test_what_was_written_after_the_checkpoint_is_put_aside(tmp_path):
    with MetricsLog(tmp_path) as log:
        log(update(1))
        length = log.sync()
        log(update(2))
    with MetricsLog(tmp_path, length) as log:
        assert log.sync() == length
        log(update(2))
    assert [line["step"] for line in read(tmp_path / METRICS)] == [1, 2]
    assert [line["step"] for line in read(tmp_path / LOST)] == [2]


def test_a_line_that_is_being_written_is_not_read(tmp_path):
    (tmp_path / METRICS).write_text('{"step": 1}\n{"step": 2, "lo')
    assert read(tmp_path / METRICS) == [{"step": 1}]


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs a file that is always full")
def test_a_full_disk_is_named(tmp_path):
    message = f"No space left on device: '{tmp_path / METRICS}'"
    with Path("/dev/full").open("wb") as full, pytest.raises(OSError, match=message), MetricsLog(tmp_path) as log:
        os.dup2(full.fileno(), log.file.fileno())
        log(update(1))
        log.sync()
