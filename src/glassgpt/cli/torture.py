"""``glassgpt torture``: every promise about checkpoints, put to the test on the user's own disk."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from cyclopts import Parameter
from cyclopts.validators import Number
from cyclopts.validators import Path as Existing

from glassgpt.cli.options import console, print_json

if TYPE_CHECKING:
    from glassgpt.training.torture.outcome import Outcome


def torture(
    *,
    dir: Annotated[Path, Parameter(validator=Existing(exists=True, file_okay=False))] = Path(),
    quick: bool = False,
    kills: Annotated[int | None, Parameter(validator=Number(gte=1))] = None,
    seed: int = 0,
    json: bool = False,
) -> int:
    """Kill, cut off, fill up and damage training runs on purpose, and count what was lost.

    Every fault also meets a careless program: unless that is caught, the fault proves nothing. A fault that this
    machine cannot inject is skipped, and the reason is told. Ends with 1 if a promise broke.

    Args:
        dir: A directory on the disk that will hold your runs. What is written there is deleted afterwards.
        quick: A minute's worth of trials instead of those of a release.
        kills: How often training is killed at random: 20 when quick, else 200.
        seed: Decides when and where the random faults strike.
        json: Print the counts as JSON.
    """
    import platform
    import tempfile
    from dataclasses import asdict

    import torch

    from glassgpt import __version__
    from glassgpt.training.torture import suite

    machine = {
        "glassgpt": __version__,
        "torch": torch.__version__,
        "python": platform.python_version(),
        "os": platform.platform(),
        "seed": seed,
    }
    out = console(stderr=json)
    out.print("  ".join(f"{name} {value}" for name, value in machine.items()), style="dim", soft_wrap=True)
    outcomes = []
    with tempfile.TemporaryDirectory(prefix="glassgpt-torture-", dir=dir) as place, without_warnings():
        for outcome in suite.torture(Path(place), quick, kills, seed):
            out.print(describe(outcome), soft_wrap=True)
            outcomes.append(outcome)
    broken = [outcome for outcome in outcomes if not (outcome.passed or outcome.skipped)]
    if json:
        print_json({**machine, "passed": not broken, "faults": [asdict(outcome) for outcome in outcomes]})
    return 1 if broken else 0


@contextmanager
def without_warnings() -> Iterator[None]:
    """Silences the package: that damaged checkpoints are noticed is counted, each single notice would only frighten."""
    logger = logging.getLogger("glassgpt")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        yield
    finally:
        logger.setLevel(level)


def describe(outcome: Outcome) -> str:
    """One line about a fault, and its first failures."""
    from rich.markup import escape

    start = f"[bold]{outcome.id:3}[/] {outcome.fault:66}"
    if outcome.skipped:
        return f"{start} [yellow]skipped: {escape(outcome.skipped)}[/]"
    verdict = "[green]held[/]" if outcome.passed else "[red]BROKEN[/]"
    control = f"{outcome.control:,} of {outcome.control_trials:,} careless ones caught"
    counts = f"{len(outcome.failures):,} lost in {outcome.trials:,}, {control}, {outcome.seconds:.1f} s"
    return "\n".join(
        [f"{start} {verdict}: {counts}", *(f"      {escape(failure)}" for failure in outcome.failures[:5])]
    )
