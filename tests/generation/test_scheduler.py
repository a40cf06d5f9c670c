"""The scheduler without a model: reading is pretended by counting, writing by adding a token."""

import subprocess
import sys
from itertools import count
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from glassgpt.generation.scheduler import Copy, QueueFull, Read, Scheduler, num_shared
from glassgpt.generation.sequence import Sequence

IDS = count()


def sequence(*prompt: int, new: int = 3, overflow: str = "stop") -> Sequence:
    params: Any = SimpleNamespace(max_new_tokens=new, overflow=overflow)
    return Sequence(next(IDS), prompt, params, seed=1, choice=0, context=100)


def step(scheduler: Scheduler) -> tuple[list[Copy], list[Read]]:
    copies, reads = scheduler.admit(), scheduler.plan()
    for read in reads:
        read.sequence.cached += read.count
        if read.sequence.num_unread == 0:
            read.sequence.add(7)
            if read.sequence.finish_reason is not None:
                scheduler.remove(read.sequence)
    return copies, reads


def counts(reads: list[Read]) -> list[int]:
    return [read.count for read in reads]


def test_it_needs_no_torch():
    code = "import sys, glassgpt.generation.scheduler; assert 'torch' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)


def test_the_first_to_come_are_the_first_to_run():
    scheduler = Scheduler(num_rows=2, max_step_tokens=50)
    first, second, third = sequence(1), sequence(2), sequence(3)
    for each in (first, second, third):
        scheduler.add(each)
    step(scheduler)
    assert scheduler.running == [first, second] and scheduler.waiting == [third]
    step(scheduler)
    step(scheduler)  # the third token is the last
    assert scheduler.running == []
    step(scheduler)
    assert scheduler.running == [third]


def test_a_long_prompt_is_read_in_pieces_beside_what_runs():
    scheduler = Scheduler(num_rows=2, max_step_tokens=10)
    short, long = sequence(1, new=9), sequence(*range(20, 45))
    scheduler.add(short)
    step(scheduler)
    scheduler.add(long)
    assert [counts(step(scheduler)[1]) for _ in range(4)] == [[1, 9], [1, 9], [1, 7], [1, 1]]


def test_prompts_share_what_is_left_of_a_step():
    scheduler = Scheduler(num_rows=3, max_step_tokens=10)
    for start in (0, 20, 40):
        scheduler.add(sequence(*range(start, start + 6)))
    assert counts(step(scheduler)[1]) == [6, 4]
    assert counts(step(scheduler)[1]) == [1, 2, 6]


def test_a_prompt_copies_what_another_has_read():
    scheduler = Scheduler(num_rows=3, max_step_tokens=50)
    running, fork = sequence(1, 2, 3, 4, new=9), sequence(1, 2, 3, 9, 9)
    scheduler.add(running)
    step(scheduler)
    scheduler.add(fork)
    copies, reads = step(scheduler)
    [copy] = copies
    assert (copy.source, copy.target, copy.length) == (running.row, fork.row, 3)
    assert counts(reads) == [1, 2]


def test_a_conversation_goes_on_in_its_row():
    scheduler = Scheduler(num_rows=2, max_step_tokens=50)
    first = sequence(1, 2, 3, new=1)
    scheduler.add(first)
    step(scheduler)
    again = sequence(1, 2, 3, 7, 5)
    scheduler.add(again)
    [copy], [read] = step(scheduler)
    assert (copy.source, copy.target, copy.length, read.count) == (again.row, again.row, 3, 2)


def test_the_row_unused_for_longest_is_taken():
    scheduler = Scheduler(num_rows=2, max_step_tokens=50)
    for prompt in ((1, 2), (3, 4)):
        scheduler.add(sequence(*prompt, new=1))
        step(scheduler)
    scheduler.add(sequence(5, 6, new=1))
    step(scheduler)
    assert [row.held for row in scheduler.rows] == [[5, 6], [3, 4]]


def test_samples_of_one_prompt_wait_until_it_is_read_once():
    scheduler = Scheduler(num_rows=4, max_step_tokens=30)
    prompt = range(50)
    for _ in range(3):
        scheduler.add(sequence(*prompt))
    other = sequence(60)
    scheduler.add(other)
    steps = [step(scheduler) for _ in range(3)]
    assert [counts(reads) for _, reads in steps] == [[1, 29], [1, 21], [1, 1, 1, 1]]
    assert [copy.length for copies, _ in steps for copy in copies] == [49, 49]


def test_a_window_that_moves_holds_nobody_up():
    scheduler = Scheduler(num_rows=2, max_step_tokens=300)
    moving, like_it = sequence(*[5] * 100, new=40, overflow="crop"), sequence(*[5] * 60)
    scheduler.add(moving)
    for _ in range(3):
        step(scheduler)
    scheduler.add(like_it)
    step(scheduler)
    assert scheduler.running == [moving, like_it]


def test_removing_frees_a_row_or_a_place_in_the_queue_at_once():
    scheduler = Scheduler(num_rows=1, max_step_tokens=50, max_waiting=2)
    running, waiting, next_one = sequence(1), sequence(2), sequence(3)
    scheduler.add(running)
    step(scheduler)
    for each in (waiting, next_one):
        scheduler.add(each)
    with pytest.raises(QueueFull, match="2 requests wait already"):
        scheduler.add(sequence(4))
    scheduler.remove(waiting)
    scheduler.remove(running)
    step(scheduler)
    assert scheduler.running == [next_one] and scheduler.waiting == []


def test_a_full_window_is_read_anew():
    scheduler = Scheduler(num_rows=1, max_step_tokens=200)
    sliding = sequence(*range(100), new=3, overflow="slide")
    scheduler.add(sliding)
    assert [counts(step(scheduler)[1]) for _ in range(3)] == [[100], [50], [1]]
    cropping = sequence(*range(100), new=3, overflow="crop")
    scheduler.add(cropping)
    assert [counts(step(scheduler)[1]) for _ in range(3)] == [[100], [100], [100]]


@pytest.mark.parametrize(("rows", "tokens", "message"), [(0, 5, "hold no sequence"), (4, 4, "no room for prompts")])
def test_limits_that_cannot_work_are_refused(rows, tokens, message):
    with pytest.raises(ValueError, match=message):
        Scheduler(rows, tokens)


@given(st.lists(st.integers(0, 2)), st.lists(st.integers(0, 2)))
def test_num_shared_counts_the_common_beginning(a, b):
    shared = num_shared(a, b)
    assert a[:shared] == b[:shared]
    assert shared == min(len(a), len(b)) or a[shared] != b[shared]


@given(st.data())
def test_whatever_comes_and_goes_the_budget_holds_and_everything_ends(data):
    num_rows, budget = data.draw(st.integers(1, 4)), data.draw(st.integers(1, 30))
    scheduler = Scheduler(num_rows, num_rows + budget)
    prompts = data.draw(st.lists(st.lists(st.integers(0, 1), min_size=1, max_size=60), min_size=1, max_size=12))
    sequences = [sequence(*prompt, new=data.draw(st.integers(1, 5))) for prompt in prompts]
    for each in sequences:
        scheduler.add(each)
    for _ in range(1000):
        copies, reads = step(scheduler)
        assert sum(counts(reads)) <= scheduler.max_step_tokens
        assert len({copy.target for copy in copies}) == len(copies)
        assert len({each.row for each in scheduler.running}) == len(scheduler.running) <= num_rows
        if scheduler.running and data.draw(st.integers(0, 9)) == 0:
            gone = data.draw(st.sampled_from(scheduler.running))
            gone.finish_reason = "cancelled"
            scheduler.remove(gone)
        if not scheduler.running and not scheduler.waiting:
            break
    assert all(each.finish_reason is not None for each in sequences)
