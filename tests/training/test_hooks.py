"""Hooks see every event of a run, in order."""

from __future__ import annotations

from glassgpt.training.hooks import Evaluation, Event, Sample, Saved, Update, every, forgiving, tell
from glassgpt.training.loop import train


def test_every_passes_on_multiples_only():
    seen: list[int] = []
    hook = every(3, lambda event: seen.append(event.step))
    for step in range(1, 8):
        hook(Event(step))
    assert seen == [3, 6]


def test_what_a_hook_answers_all_hooks_hear_after_the_event_itself():
    def writer(event: Event) -> Event | None:
        return Sample(event.step, "Once", " upon") if event.step == 2 and not isinstance(event, Sample) else None

    heard: list[Event] = []
    for step in (1, 2):
        tell([writer, heard.append], Event(step))
    assert heard == [Event(1), Event(2), Sample(2, "Once", " upon")]


def test_a_run_tells_its_updates_evaluations_and_checkpoints_in_order(make_run, tmp_path):
    events: list[Event] = []
    train(make_run(steps=5), tmp_path, [events.append])
    kinds = [(type(event), event.step) for event in events]
    assert kinds == [
        *((Update, step) for step in (1, 2, 3, 4)),
        (Evaluation, 4),
        (Saved, 4),
        (Update, 5),
        (Evaluation, 5),
        (Saved, 5),
    ]
    last = next(event for event in reversed(events) if isinstance(event, Update))
    assert last.tokens == 5 * 4 * 16
    assert last.tokens_per_second > 0
    assert last.memory > 2**20
    assert last.mfu is None, "no data sheet states the peak of a CPU"


def test_what_a_tracker_cannot_do_stops_no_run(make_run, tmp_path, caplog):
    told: list[int] = []

    def tracker(event: Event) -> None:
        if event.step in (2, 3):
            raise ConnectionError(f"lost at {event.step}")
        told.append(event.step)

    assert train(make_run(steps=5), tmp_path, [forgiving(tracker, "mytracker")]) == 0
    assert {1, 4, 5} == set(told)
    assert caplog.messages == [
        "mytracker failed at step 2, and training goes on: ConnectionError: lost at 2. metrics.jsonl has every figure"
    ]
