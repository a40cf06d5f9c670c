"""T1: training killed at random times, again and again, and compared with a run that nobody touched."""

from __future__ import annotations

import signal
import time
from pathlib import Path
from random import Random

from glassgpt.training.hooks import Event, Saved
from glassgpt.training.loop import train
from glassgpt.training.metrics import METRICS, read
from glassgpt.training.run import Run
from glassgpt.training.torture.faulty import Watched, leave_out
from glassgpt.training.torture.outcome import Outcome, fault
from glassgpt.training.torture.rehearsal import INTERVAL, disturb, one_thread
from glassgpt.training.torture.savers import CARELESS
from glassgpt.training.torture.victim import Announce, Ending, Victim
from glassgpt.weights.checkpoint import newest

SHORTEST, LONGEST = 0.05, 0.4  # seconds a victim lives


@fault("T1", "SIGKILL at random times in training")
def kill_training(outcome: Outcome, directory: Path, trials: int, luck: Random) -> None:
    """Kills training ``trials`` times, over as many runs as it takes; each must end as if nothing had happened."""
    with one_thread():
        disturb(outcome, directory, trials, lambda run, place: _kill_until_finished(outcome, run, place, trials, luck))
        for _ in range(30):
            outcome.check_control(_careless(directory / "careless", luck))


def _kill_until_finished(outcome: Outcome, run: Run, place: Path, trials: int, luck: Random) -> None:
    """Kills one run until it or the number of trials is complete, then lets it finish."""

    def go_on(announce: Announce) -> int:
        def hook(event: Event) -> None:
            if isinstance(event, Saved):
                announce(event.step)

        return train(run, place, [hook], resume=True)

    announced = idle = 0
    while True:
        victim = Victim(go_on)
        if outcome.trials < trials:
            time.sleep(luck.uniform(SHORTEST, LONGEST + 0.1 * idle))  # a slow machine must get somewhere, too
            victim.kill(signal.SIGKILL)
        ending = victim.wait()
        if ending.code == 0:
            return
        idle = 0 if ending.announced else idle + 1
        announced = max([announced, *ending.announced])
        outcome.check(f"kill {outcome.trials + 1}", _broken(place, announced, ending))


def _broken(place: Path, announced: int, ending: Ending) -> str | None:
    if ending.code != -signal.SIGKILL:
        raise ValueError(f"training ended with exit code {ending.code}: {ending.error}")
    try:
        checkpoint = newest(place / "checkpoints")
    except ValueError as error:
        return str(error)
    step = checkpoint.step if checkpoint else 0
    if step < announced:
        return f"step {announced} was announced, step {step} is resumed"
    lines = read(place / METRICS) if (place / METRICS).exists() else []
    if lines and lines[-1]["step"] > step + INTERVAL:
        return f"step {lines[-1]['step']} was reached, step {step} is resumed"
    return None


def _careless(place: Path, luck: Random) -> str | None:
    """A program that saves in place all the time and, as most do, without a sync; killed once."""
    CARELESS.prepare(place)
    storage = Watched(leave_out("sync"))

    def go_on(announce: Announce) -> None:
        for step in [3, 4] * 100_000:
            CARELESS.save(place, step, storage)

    victim = Victim(go_on)
    time.sleep(luck.uniform(0.01, 0.05))
    victim.kill(signal.SIGKILL)
    victim.wait()
    return CARELESS.broken(place, 2)
