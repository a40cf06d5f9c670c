"""T2: a kill at every single system call of a save."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from pathlib import Path
from random import Random

from glassgpt.training.torture.faulty import Watch, Watched, kill_at
from glassgpt.training.torture.outcome import Outcome, fault
from glassgpt.training.torture.savers import CARELESS, COMMITTING, Saver, copy
from glassgpt.training.torture.victim import Announce, Victim


@fault("T2", "SIGKILL at every system call of a save")
def kill_everywhere(outcome: Outcome, directory: Path, trials: int, luck: Random) -> None:
    """Kills before each call and in the middle of each write; all are tried, whatever ``trials`` says."""
    for what, broken in _kills(directory / "committing", COMMITTING):
        outcome.check(what, broken)
    for _, broken in _kills(directory / "careless", CARELESS):
        outcome.check_control(broken)


def _kills(directory: Path, saver: Saver) -> Iterator[tuple[str, str | None]]:
    """Each kill in a save of step 3 over steps 1 and 2: where it was, and the promise it broke."""
    before = saver.prepare(directory / "before")
    counter = Watched()
    saver.save(copy(before, directory / "count"), 3, counter)
    for number, name in enumerate(counter.calls):
        for torn in (False, True) if name == "write" else (False,):
            place = copy(before, directory / "place")
            yield f"{name} (call {number}{', torn' if torn else ''})", _killed(place, saver, kill_at(number, torn))


def _killed(place: Path, saver: Saver, watch: Watch) -> str | None:
    def run(announce: Announce) -> None:
        saver.save(place, 3, Watched(watch))
        announce(3)

    ending = Victim(run).wait()
    if ending.code != -signal.SIGKILL:
        return f"the victim survived with exit code {ending.code} {ending.error}"
    return saver.broken(place, max([2, *ending.announced]))
