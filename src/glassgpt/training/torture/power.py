"""T3: a power cut at every system call of a series of saves.

On the model of a disk any combination of unsynced changes may be lost, and it runs everywhere; on an ext4 image the
kernel's own journal decides, which needs root.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path
from random import Random
from typing import Any

from glassgpt.training.torture.disk import Disk
from glassgpt.training.torture.faulty import Call, Watch, Watched, leave_out
from glassgpt.training.torture.mount import ext4_image, mounted
from glassgpt.training.torture.outcome import Outcome, fault
from glassgpt.training.torture.savers import COMMITTING

SAVES = 3  # the third rotates the first out
Cut = tuple[str, str | None]  # where the power went, and the promise that broke


@fault("T3", "power cut at every system call, on a model of a disk")
def cut_in_model(outcome: Outcome, directory: Path, trials: int, luck: Random) -> None:
    """Cuts after every call: once so that nothing unsynced is left, and ``trials`` times so that a random part is."""
    for where, broken in _cuts_in_model(directory / "committing", None, trials, luck):
        outcome.check(where, broken)
    for forgotten in ("sync", "sync_directory"):
        for _, broken in _cuts_in_model(directory / f"without-{forgotten}", forgotten, 0, luck):
            outcome.check_control(broken)


@fault("T3", "power cut while saving to an ext4 image")
def cut_on_ext4(outcome: Outcome, directory: Path, trials: int, luck: Random) -> None:
    """Copies the image under the mounted file system during and right after each of ``trials`` saves."""
    for where, broken in _cuts_on_ext4(directory / "committing", lambda call: call.make(*call.arguments), trials, luck):
        outcome.check(where, broken)
    for where, broken in _cuts_on_ext4(directory / "careless", leave_out("sync_directory"), min(trials, 15), luck):
        if where.startswith("after"):
            outcome.check_control(broken)


def _cuts_in_model(directory: Path, forgotten: str | None, trials: int, luck: Random) -> Iterator[Cut]:
    run, remains = directory / "run", directory / "remains"
    run.mkdir(parents=True)
    disk = Disk(run, forgotten)
    for step in range(1, SAVES + 1):
        cuts: list[Cut] = []

        def watch(call: Call, announced: int = step - 1, cuts: list[Cut] = cuts) -> Any:
            result = disk.watch(call)
            for chance in (None, *[luck] * trials) if announced else ():
                disk.top.write_after_cut(remains, chance)
                cuts.append((f"{call.name} (call {call.number})", _broken(remains, announced)))
            return result

        COMMITTING.save(run, step, Watched(watch))
        disk.top.write_after_cut(remains, None)
        cuts.append((f"after step {step} was announced", _broken(remains, step)))
        yield from cuts


def _broken(remains: Path, announced: int) -> str | None:
    broken = COMMITTING.broken(remains, announced)
    shutil.rmtree(remains)
    return broken


def _cuts_on_ext4(directory: Path, make: Watch, trials: int, luck: Random) -> Iterator[Cut]:
    directory.mkdir(parents=True)
    image, copy = ext4_image(directory / "disk", 160), directory / "copy"
    with mounted(directory / "mounted", "-o", "loop", image) as disk:
        COMMITTING.save(disk / "run", 1, Watched())
        for step in range(2, trials + 2):
            at = luck.randrange(25)

            def watch(call: Call, at: int = at) -> Any:
                if call.number == at:
                    shutil.copyfile(image, copy)
                return make(call)

            COMMITTING.save(disk / "run", step, Watched(watch))
            yield f"call {at} of step {step}", _broken_in(copy, step - 1)
            shutil.copyfile(image, copy)
            yield f"after step {step} was announced", _broken_in(copy, step)


def _broken_in(copy: Path, announced: int) -> str | None:
    with mounted(copy.with_name("remains"), "-o", "loop", copy) as remains:
        return COMMITTING.broken(remains / "run", announced)
