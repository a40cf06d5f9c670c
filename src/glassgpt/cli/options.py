"""What commands share: the usage error, suggestions, consoles, JSON output and progress. Knows no command."""

from __future__ import annotations

import difflib
import json
import math
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Literal
from unicodedata import category

if TYPE_CHECKING:
    from rich.console import Console

# The names that quantization.precision knows; to import them from there would take torch.
Precision = Literal["float32", "bfloat16", "int8", "int4"]

FIRST_LINE, NEXT_LINES = 2.0, 10.0  # seconds until the first plain line of progress, and between later ones


class UsageError(Exception):
    """The command line asks for something that cannot be; the exit code is 2."""


def did_you_mean(word: str, choices: Iterable[str]) -> str:
    """``did you mean 'plan'?`` for the choice most like ``word``, or nothing if none is."""
    lowered = {choice.lower(): choice for choice in choices}
    close = difflib.get_close_matches(word.lower(), lowered, n=1)
    return f"did you mean {lowered[close[0]]!r}?" if close else ""


def console(stderr: bool = False) -> Console:
    """A rich console for results (stdout) or for progress (stderr); it obeys NO_COLOR, FORCE_COLOR and COLUMNS."""
    from rich.console import Console

    return Console(stderr=stderr, highlight=False, emoji=False)


def print_json(result: Any) -> None:
    """Prints a result as JSON on stdout; numbers JSON does not have, such as NaN, become null."""
    print(json.dumps(finite(result), indent=2, allow_nan=False))


def finite(value: Any) -> Any:
    """The same lists, dictionaries and values, with None for NaN and infinity."""
    if isinstance(value, float) and not math.isfinite(value):
        return None
    if isinstance(value, dict):
        return {key: finite(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [finite(item) for item in value]
    return value


@contextmanager
def progress(what: str, total: float | None = None) -> Iterator[Callable[..., None]]:
    """Shows on stderr how far a long task is; yields ``update(done, note="")``, cheap enough for every step.

    A bar with the note below it on a terminal; elsewhere a plain line now and then, and none for a task of less than
    two seconds. Both estimate the time left.
    """
    if sys.stderr.isatty():
        from rich.console import Group
        from rich.live import Live
        from rich.progress import BarColumn, Progress, TimeRemainingColumn
        from rich.text import Text

        bar = Progress("{task.description}", BarColumn(), "{task.percentage:>3.0f}%", TimeRemainingColumn())
        task = bar.add_task(what, total=total)
        with Live(bar, console=console(stderr=True), transient=True) as live:

            def draw(done: float, note: str = "") -> None:
                bar.update(task, completed=done)
                live.update(Group(bar, Text(note, style="dim", no_wrap=True, overflow="ellipsis")) if note else bar)

            yield draw
        return

    due = time.monotonic() + FIRST_LINE
    first: tuple[float, float] | None = None  # when something was done, and how much: not 0 in what is resumed

    def update(done: float, note: str = "") -> None:
        nonlocal due, first
        now = time.monotonic()
        first = first or (now, done)
        if now >= due:
            due = now + NEXT_LINES
            share = f"{done:,.0f}" if total is None else f"{done:,.0f} of {total:,.0f} ({done / total:.0%})"
            if total is not None and done > first[1]:
                share += f", {timedelta(seconds=round((now - first[0]) * (total - done) / (done - first[1])))} left"
            print(f"{what}: {share} {note}".rstrip(), file=sys.stderr, flush=True)

    yield update


def printable(text: str) -> str:
    """The text without what could steer a terminal: control characters but tab and newline are written out."""
    return "".join(
        char if char.isprintable() or char in "\t\n" or category(char) == "Zs" else ascii(char)[1:-1] for char in text
    )
