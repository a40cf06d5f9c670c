"""T6: training that is asked to stop, as a scheduler or a user asks."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Callable
from pathlib import Path
from random import Random

from glassgpt.training.hooks import Event, Update
from glassgpt.training.loop import train
from glassgpt.training.run import Run
from glassgpt.training.torture.outcome import Outcome, fault
from glassgpt.training.torture.rehearsal import Rehearsal, disturb, one_thread
from glassgpt.training.torture.victim import Announce, Ending, Victim
from glassgpt.weights.checkpoint import newest

CODES = {signal.SIGTERM: 143, signal.SIGUSR1: 143, signal.SIGINT: 130}
DEADLINE = 25.0  # seconds; torchrun and many schedulers kill after 30

GoOn = Callable[[Run, Path, Announce], int]


@fault("T6", "SIGTERM, SIGINT and SIGUSR1 at random times, once or twice")
def interrupt_training(outcome: Outcome, directory: Path, trials: int, luck: Random) -> None:
    """Interrupts training ``trials`` times, over as many runs as that takes; every fourth signal comes twice."""
    with one_thread():
        disturb(
            outcome, directory, trials, lambda run, place: _signal_until_finished(outcome, run, place, trials, luck)
        )
        rehearsal = Rehearsal(directory / "careless", 0, steps=100_000)
        for trial in range(10):
            place = rehearsal.place(f"{trial}")
            ending = _interrupt(leaves, rehearsal.build(), place, signal.SIGTERM, luck, again=False)
            outcome.check_control(_broken(place, ending, signal.SIGTERM, 0, again=False))


def _signal_until_finished(outcome: Outcome, run: Run, place: Path, trials: int, luck: Random) -> None:
    """Interrupts one run until it or the number of trials is complete, then lets it finish."""
    while outcome.trials < trials:
        number, again, before = luck.choice(sorted(CODES)), outcome.trials % 4 == 3, _saved(place)
        ending = _interrupt(stops, run, place, number, luck, again)
        if ending.code == 0:
            return
        outcome.check(f"{number.name} {outcome.trials + 1}", _broken(place, ending, number, before, again))
    Victim(lambda announce: stops(run, place, announce)).wait()


def stops(run: Run, place: Path, announce: Announce) -> int:
    """Trains, and announces every update."""

    def hook(event: Event) -> None:
        if isinstance(event, Update):
            announce(event.step)

    return train(run, place, [hook], resume=True)


def leaves(run: Run, place: Path, announce: Announce) -> int:
    """Trains as a program does that takes a signal for an order to leave at once, with the right exit code."""
    signal.signal(signal.SIGTERM, lambda number, frame: os._exit(128 + number))
    thread = threading.Thread(target=stops, args=(run, place, announce))
    thread.start()
    thread.join()
    return 0


def _interrupt(go_on: GoOn, run: Run, place: Path, number: int, luck: Random, again: bool) -> Ending:
    victim = Victim(lambda announce: go_on(run, place, announce))
    victim.hear()
    time.sleep(luck.uniform(0, 0.2))
    victim.kill(number)
    if again:
        time.sleep(luck.uniform(0, 0.01))
        victim.kill(number)
    return victim.wait(patience=DEADLINE)


def _broken(place: Path, ending: Ending, number: signal.Signals, before: int, again: bool) -> str | None:
    """The promise that broke: the last finished update is saved, or, after a second signal, what was saved still is."""
    step = _saved(place)
    if again and ending.code in (1, -number):  # minus: it came when the run had stopped already
        return f"step {before} was saved, step {step} is resumed" if step < before else None
    if ending.code != CODES[number]:
        return f"exit code {ending.code} instead of {CODES[number]} {ending.error}"
    if step != ending.announced[-1]:
        return f"step {ending.announced[-1]} was finished, step {step} is resumed"
    return None


def _saved(place: Path) -> int:
    checkpoint = newest(place / "checkpoints")
    return checkpoint.step if checkpoint else 0
