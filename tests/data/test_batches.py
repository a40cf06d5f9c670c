"""Batches: a pure function of the step, the same whatever the number of ranks and micro-steps."""

import threading
from pathlib import Path

import numpy as np
import pytest
import torch

from glassgpt.data.batches import Ahead, Batches, Windows, fixed_batches
from glassgpt.data.ramp import Ramp
from glassgpt.data.shards import Shards, write

T = 8


@pytest.fixture
def shards(tmp_path: Path) -> Shards:
    """1,000 tokens, each its own number: 124 windows of 8 + 1 and 7 tokens over."""
    write(tmp_path, {"train": [range(1, 1000)]}, 1000, 0, "0" * 64)
    return Shards.open(tmp_path)


def epoch_of_targets(batches: list[Batches], steps: range) -> list[int]:
    return [int(t) for step in steps for rank in batches for t in rank.at(step)[1].flatten()]


def test_targets_are_the_tokens_one_further(shards: Shards):
    tokens, targets = Batches(shards, T, batch_size=4, seed=1).at(0)
    assert tokens.shape == targets.shape == (4, T)
    assert tokens.dtype == targets.dtype == torch.int64
    assert tokens.is_contiguous() and targets.is_contiguous()
    assert (targets == tokens + 1).all()
    assert (tokens[:, 0] % T == 0).all()


def test_an_epoch_predicts_every_token_once(shards: Shards):
    batches = Batches(shards, T, batch_size=4, seed=1)
    assert len(batches.windows) == 124
    assert sorted(epoch_of_targets([batches], range(31))) == list(range(1, 993))


def test_a_token_beyond_the_vocabulary_is_never_handed_on(shards: Shards):
    path = shards.files[0].path
    path.write_bytes(path.read_bytes()[:-4] + b"\xff\xff" + path.read_bytes()[-2:])  # the last but one of all tokens
    with pytest.raises(ValueError, match="has a token 65535, the vocabulary has 1000: a file was damaged"):
        Windows(shards, 998).gather(np.array([0]))


def test_the_definition_of_the_order(shards: Shards):
    from glassgpt.data.order import permute

    batches, N = Batches(shards, T, batch_size=5, seed=42), 124
    for step in (0, 1, 24, 25, 700):
        samples = [step * 5 + j for j in range(5)]
        windows = [int(permute(42, g // N, N, np.array([g % N]))[0]) for g in samples]
        assert (batches.at(step)[0][:, 0] == torch.tensor(windows) * T).all()


def test_a_batch_may_span_epochs_and_exceed_one(shards: Shards):
    batches = Batches(shards, T, batch_size=300, seed=3)
    starts = (batches.at(0)[0][:, 0] // T).tolist()
    assert sorted(starts[:124]) == sorted(starts[124:248]) == list(range(124))
    assert starts[:124] != starts[124:248]
    assert [batches.epoch(step) for step in range(3)] == [0, 2, 4]


def test_a_step_does_not_depend_on_the_steps_before_it(shards: Shards):
    one, other = Batches(shards, T, 4, seed=1), Batches(shards, T, 4, seed=1)
    for step in range(20):
        other.at(step)
    for step in (19, 3, 500, 3):
        assert all(torch.equal(a, b) for a, b in zip(one.at(step), other.at(step), strict=True))
    assert not torch.equal(one.at(0)[0], Batches(shards, T, 4, seed=2).at(0)[0])


@pytest.mark.parametrize(("world_size", "accumulation"), [(1, 1), (2, 1), (4, 1), (1, 3), (2, 2), (3, 4)])
def test_every_layout_shows_the_same_rows_in_the_same_order(shards: Shards, world_size: int, accumulation: int):
    whole = Batches(shards, T, batch_size=12, seed=9)
    ranks = [Batches(shards, T, 12, 9, world_size, rank, accumulation) for rank in range(world_size)]
    for step in (0, 10, 40):  # step 10 spans two epochs
        rows = torch.cat([rank.at(step)[0] for rank in ranks])
        parts = torch.cat([rank.micro(step, a)[0] for rank in ranks for a in range(accumulation)])
        assert torch.equal(rows, whole.at(step)[0])
        assert torch.equal(parts, whole.at(step)[0])


def test_a_batch_that_cannot_be_divided_is_refused(shards: Shards):
    with pytest.raises(
        ValueError, match="batch of 10 cannot be divided over 2 ranks in 3 micro-steps: give a multiple"
    ):
        Batches(shards, T, 10, 1, world_size=2, accumulation=3)
    with pytest.raises(ValueError, match="batch of 0"):
        Batches(shards, T, 0, 1)


def test_a_text_shorter_than_a_window_is_refused(tmp_path: Path):
    write(tmp_path, {"train": [range(8)]}, 1000, 0, "0" * 64)
    shards = Shards.open(tmp_path)
    assert len(Windows(shards, 8)) == 1
    with pytest.raises(ValueError, match=r"hold 9 tokens, one window needs 10: .* context_length of at most 8"):
        Windows(shards, 9)


def test_evaluation_sees_the_same_windows_every_time(shards: Shards):
    every = list(fixed_batches(shards, T, batch_size=50))
    assert [len(tokens) for tokens, _ in every] == [50, 50, 24]
    assert torch.cat([targets for _, targets in every]).flatten().tolist() == list(range(1, 993))

    some = [tokens[:, 0] // T for tokens, _ in fixed_batches(shards, T, batch_size=4, num_windows=10)]
    assert torch.cat(some).tolist() == [0, 12, 24, 37, 49, 62, 74, 86, 99, 111]
    assert sum(len(tokens) for tokens, _ in fixed_batches(shards, T, 4, num_windows=10_000)) == 124


def test_computing_ahead_changes_nothing(shards: Shards):
    batches = Batches(shards, T, 4, seed=1)
    ahead = Ahead(batches.at)
    for step in [0, 1, 2, 10, 11, 3, 3]:
        assert torch.equal(ahead.at(step)[0], batches.at(step)[0])
    ahead.close()
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("batches")]


def test_an_error_ahead_is_raised_when_its_step_comes(shards: Shards):
    batches = Batches(shards, T, 4, seed=1)
    ahead = Ahead(batches.at)
    ahead.at(0)
    with shards.files[0].path.open("r+b") as file:
        file.truncate(1100)
    with pytest.raises(ValueError, match="cut off while in use"):
        [ahead.at(step) for step in range(1, 10)]
    ahead.close()


def test_a_ramp_shows_every_window_once_in_the_same_order(shards: Shards):
    steady = Batches(shards, T, batch_size=4, seed=1)
    growing = Batches(shards, T, batch_size=12, seed=1, accumulation=3, ramp=Ramp(full=12, first=4, steps=6))
    assert [len(growing.at(step)[0]) for step in range(9)] == [4, 4, 4, 8, 8, 8, 12, 12, 12]
    assert epoch_of_targets([growing], range(8)) == epoch_of_targets([steady], range(15))
    assert torch.equal(torch.cat([growing.micro(4, part)[0] for part in range(2)]), growing.at(4)[0])
    ranks = [
        Batches(shards, T, batch_size=12, seed=1, world_size=2, rank=rank, accumulation=3, ramp=Ramp(12, 4, 6))
        for rank in range(2)
    ]
    for step in (0, 4, 7):
        assert torch.equal(torch.cat([rank.at(step)[1] for rank in ranks]), growing.at(step)[1])


@pytest.mark.parametrize(
    ("full", "first", "steps"), [(12, 4, 6), (12, 1, 7), (64, 8, 100), (8, 8, 0), (6, 2, 1), (30, 1, 7)]
)
def test_a_ramp_counts_what_it_gave(full: int, first: int, steps: int):
    ramp = Ramp(full, first, steps)
    sizes = [ramp.at(step) for step in range(2 * steps + 3)]
    assert [ramp.before(step) for step in range(len(sizes))] == [sum(sizes[:step]) for step in range(len(sizes))]
    assert sizes == sorted(sizes) and sizes[-1] == full
    assert not steps or sizes[0] == first


def test_a_ramp_that_does_not_divide_is_refused(shards: Shards):
    with pytest.raises(ValueError, match="take a divisor of 12"):
        Ramp(12, 5, 6)
    with pytest.raises(ValueError, match="give a multiple of 4"):
        Batches(shards, T, batch_size=12, seed=1, accumulation=3, ramp=Ramp(12, 2, 6))
