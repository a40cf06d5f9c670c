"""What one fault did in how many trials. Knows nothing of how it was injected."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import wraps
from pathlib import Path
from random import Random


class Unavailable(Exception):
    """This machine cannot inject the fault; the message says what is missing."""


@dataclass
class Outcome:
    """The count of one fault: ``trials`` injected, ``failures`` of them broke a promise.

    ``control`` of ``control_trials`` careless writers were caught; ``skipped`` is the reason where nothing ran.
    """

    id: str
    fault: str
    trials: int = 0
    failures: list[str] = field(default_factory=list)
    control: int = 0
    control_trials: int = 0
    seconds: float = 0.0
    skipped: str | None = None

    @property
    def passed(self) -> bool:
        """Whether every promise held, and the same harness caught the control."""
        return not self.failures and self.trials > 0 and self.control > 0

    def check(self, what: str, broken: str | None) -> None:
        """Counts one trial; ``broken`` is the promise that broke in it."""
        self.trials += 1
        if broken is not None:
            self.failures.append(f"{what}: {broken}")

    def check_control(self, broken: str | None) -> None:
        """Counts one trial of the careless writer."""
        self.control_trials += 1
        self.control += broken is not None


Inject = Callable[[Outcome, Path, int, Random], None]
Run = Callable[[Path, int, int], Outcome]


def fault(id: str, title: str) -> Callable[[Inject], Run]:
    """Makes ``inject(outcome, directory, trials, luck)`` a function of directory, trials and seed with the outcome."""

    def decorate(inject: Inject) -> Run:
        @wraps(inject)
        def run(directory: Path, trials: int, seed: int = 0) -> Outcome:
            outcome = Outcome(id, title)
            start = time.monotonic()
            directory.mkdir(parents=True)
            try:
                inject(outcome, directory, trials, Random(seed))
            except Unavailable as reason:
                outcome.skipped = str(reason)
            outcome.seconds = time.monotonic() - start
            return outcome

        return run

    return decorate
