"""``glassgpt verify``: the chapter's numbers computed here and now, beside what the chapter prints."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Annotated, Any

from cyclopts import Parameter

from glassgpt.cli.options import UsageError, console, print_json, progress

if TYPE_CHECKING:
    from rich.table import Table

    from glassgpt.book.verify import Result

COLOURS = {"holds": "green", "explained": "yellow", "differs": "bold red"}


def verify(prefix: Annotated[str, Parameter(show_default=False)] = "", /, *, json: bool = False) -> int:
    """Compute every number of the book's chapter 4 and compare it with the printed one.

    A number holds when it agrees as closely as its entry in the ledger asks. One that is explained does not agree, and
    the reason is given. The exit code is 1 if any other differs. Nothing is downloaded.

    Args:
        prefix: Only entries whose id begins so, such as ch04.gpt, seed.dummy or params.
        json: Prints a list of {"id", "what", "place", "expected", "got", "holds", "verdict", "remark", "note"} instead.
    """
    from glassgpt.book import verify as book

    try:
        total = len(book.select(prefix))
    except ValueError as error:
        raise UsageError(str(error)) from None
    results = []
    with progress("verifying", total) as update:
        for result in book.verify(prefix):
            results.append(result)
            update(len(results), result.entry.id)

    counts = Counter(result.verdict for result in results)
    if json:
        print_json([record(result) for result in results])
    else:
        out = console()
        out.print(table(results), "")
        for result in results:
            if remark := result.remark or ("" if result.verdict == "holds" else difference(result)):
                out.print(f"{result.entry.id}: {remark}", style=COLOURS[result.verdict], markup=False)
        out.print(f"{counts['holds']} of {total} hold, {counts['explained']} explained, {counts['differs']} differ")
    return 1 if counts["differs"] else 0


def record(result: Result) -> dict[str, Any]:
    """A result as JSON has it."""
    entry = result.entry
    return {
        "id": entry.id,
        "what": entry.what,
        "place": entry.place,
        "expected": entry.expected,
        "got": result.got,
        "holds": result.verdict == "holds",
        "verdict": result.verdict,
        "remark": result.remark,
        "note": entry.note,
    }


def table(results: list[Result]) -> Table:
    """Two lines a result, what is too long cut off: --json has all of it."""
    from rich.table import Table
    from rich.text import Text

    rows = Table(box=None, expand=True, padding=(0, 2, 0, 0))
    rows.add_column("verdict", width=9)
    rows.add_column("id\nwhat", ratio=1, no_wrap=True, overflow="ellipsis")
    rows.add_column("expected\n[dim]got[/]", ratio=1, no_wrap=True, overflow="ellipsis")
    for result in results:
        what = Text.assemble((result.entry.id, "cyan"), "\n", result.entry.what)
        expected, got = values(result)
        rows.add_row(Text(result.verdict, COLOURS[result.verdict]), what, Text.assemble(expected, "\n", (got, "dim")))
    return rows


def difference(result: Result) -> str:
    """Both values in full."""
    expected, got = values(result)
    return f"expected {expected}; got {got}"


def values(result: Result) -> tuple[str, str]:
    """What was expected and what was computed, each on one line."""
    digits = result.entry.printed_digits
    return short(result.entry.expected, digits), short(result.got, digits)


def short(value: Any, digits: int | None) -> str:
    """A value on one line, its decimals rounded as the chapter prints them."""
    if isinstance(value, dict):
        items = {key: short(item, digits) for key, item in value.items()}
        return ", ".join(items.values() if len(items) == 1 else [f"{key} {item}" for key, item in items.items()])
    if isinstance(value, list):
        return f"[{', '.join(short(item, digits) for item in value)}]"
    if isinstance(value, float):
        return f"{value:.6g}" if digits is None else f"{value:.{digits}f}"
    return str(value)
