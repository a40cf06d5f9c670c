"""T4: a disk that is full, over quota, failing, or takes only a part of each write."""

from __future__ import annotations

import errno
from collections.abc import Iterator
from pathlib import Path
from random import Random
from typing import Any

from glassgpt.training.torture.faulty import Call, Watch, Watched, fail_at, write_short
from glassgpt.training.torture.mount import mounted
from glassgpt.training.torture.outcome import Outcome, fault
from glassgpt.training.torture.savers import CARELESS, COMMITTING, Saver, content, copy

PAGE = 4096


@fault("T4", "ENOSPC, EDQUOT, EIO and short writes at every system call")
def fail_everywhere(outcome: Outcome, directory: Path, trials: int, luck: Random) -> None:
    """All calls are tried, whatever ``trials`` says."""
    for what, broken in _failures(directory / "committing", COMMITTING):
        outcome.check(what, broken)
    for _, broken in _failures(directory / "careless", CARELESS):
        outcome.check_control(broken)


@fault("T4", "a tmpfs that fills up while saving")
def fill_tmpfs(outcome: Outcome, directory: Path, trials: int, luck: Random) -> None:
    """Another program leaves room for 0.5 to 1.5 checkpoints, in ``trials`` steps, just as a save begins."""
    for trial in range(trials):
        share = 0.5 + trial / trials
        with mounted(directory / "disk", "-t", "tmpfs", "-o", "size=160M", "tmpfs") as disk:
            outcome.check(f"room for {share:.2f} checkpoints", _filled(disk / "committing", COMMITTING, share))
            outcome.check_control(_filled(disk / "careless", CARELESS, share))


def _failures(directory: Path, saver: Saver) -> Iterator[tuple[str, str | None]]:
    """What was injected in a save of step 3 over steps 1 and 2, and the promise that broke."""
    before = saver.prepare(directory / "before")
    counter = Watched()
    saver.save(copy(before, directory / "count"), 3, counter)
    for number, name in enumerate(counter.calls):
        for code, full in ((errno.ENOSPC, False), (errno.ENOSPC, True), (errno.EDQUOT, False), (errno.EIO, False)):
            place = copy(before, directory / "place")
            what = f"{errno.errorcode[code]} in {name} (call {number}{', and after' if full else ''})"
            yield what, _failed(place, saver, fail_at(number, code, full))
    yield "short writes", _failed(copy(before, directory / "place"), saver, write_short)


def _filled(run: Path, saver: Saver, share: float) -> str | None:
    saver.prepare(run)
    filler = run.with_name("filler")
    room = share * sum(-(-len(data) // PAGE) * PAGE for data in content(3).values())

    def watch(call: Call) -> Any:
        if call.name == "create" and call.arguments[0].name != "trial" and not filler.exists():
            with filler.open("wb") as file:
                for _ in range(int(Watched().free(run) - room) // PAGE):
                    file.write(bytes(PAGE))
        return call.make(*call.arguments)

    return _failed(run, saver, watch, undo=lambda: filler.unlink(missing_ok=True))


def _failed(place: Path, saver: Saver, watch: Watch, undo=lambda: None) -> str | None:
    announced = 2
    try:
        saver.save(place, 3, Watched(watch))
        announced = 3
    except OSError as error:
        if missing := [part for part in (str(place), "needed", "free") if part not in str(error)]:
            return f"the message does not say {', '.join(missing)}: {error}"
    finally:
        undo()
    if len(stages := list(place.glob(".stage-*"))) > 1:
        return f"{len(stages)} stages were left behind"
    return saver.broken(place, announced)
