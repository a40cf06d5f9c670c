"""Lines drawn with braille characters, 2 x 4 dots each, for any terminal and any log. Knows nothing of runs."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

from rich.text import Text

from glassgpt.inspection.chart import Axis, Line, axes, colours, number

COLOURS = ["bright_blue", "yellow", "green", "magenta", "cyan", "red"]
POINTS = "●○◆◇▲△"  # stand at every measured point, one for each run
BIT = ((0x01, 0x08), (0x02, 0x10), (0x04, 0x20), (0x40, 0x80))  # of the dot in row 0-3, column 0-1 of a character


def draw(lines: Sequence[Line], width: int = 72, height: int = 16, x_label: str = "step") -> Text:
    """A picture of ``height`` rows and at most ``width`` columns, with axes and a legend. Pale lines are left out.

    Measured points have a sign for each run (● ○ ...) and marks are ×, so that it can be read without colours.

    Raises:
        ValueError: there are no points.
    """
    lines = [line for line in lines if line.kind != "raw"]
    across, up = axes(lines, 5, height // 3)
    labels = {height - 1 - round(up.share(tick) * (height - 1)): number(tick) for tick in up.ticks}
    margin = max(map(len, labels.values()))
    columns = width - margin - 2

    cells: dict[tuple[int, int], tuple[int | str, str]] = {}  # (row, column) -> braille bits or a character, colour
    styles = {label: COLOURS[i % len(COLOURS)] for label, i in colours(lines).items()}
    for line in lines:
        dots = [(across.share(x) * (2 * columns - 1), (1 - up.share(y)) * (4 * height - 1)) for x, y in line.points]
        for column, row in joined(dots if line.kind != "marks" else []):
            bits, _ = cells.get((row // 4, column // 2), (0, ""))
            if not isinstance(bits, str):
                cells[row // 4, column // 2] = bits | BIT[row % 4][column % 2], styles[line.label]
        if line.kind != "smooth":
            for column, row in dots:
                cells[round(row) // 4, round(column) // 2] = sign(line), styles[line.label]

    picture = Text()
    for row in range(height):
        picture.append(f"{labels.get(row, ''):>{margin}} {'┤' if row in labels else '│'}", style="dim")
        for column in range(columns):
            mark, colour = cells.get((row, column), (" ", ""))
            picture.append(mark if isinstance(mark, str) else chr(0x2800 + mark), style=colour)
        picture.append("\n")
    indent = " " * (margin + 2)
    picture.append(f"{indent[1:]}└{'─' * columns}\n{indent}{ruler(across, columns)}\n", style="dim")
    return picture.append(legend(lines, styles, indent, width)).append(f"({x_label})", style="dim")


def ruler(axis: Axis, columns: int) -> str:
    """The numbers under the axis, each below its place."""
    cells = [" "] * columns
    for tick in axis.ticks:
        text = number(tick)
        start = min(columns - len(text), max(0, round(axis.share(tick) * (columns - 1)) - len(text) // 2))
        cells[start : start + len(text)] = text
    return "".join(cells)


def legend(lines: Sequence[Line], styles: dict[str, str], indent: str, width: int) -> Text:
    """What each line is and where it ends, in as many rows as it takes."""
    entries, used = Text(indent), len(indent)
    for line in lines:
        entry = f" {line.caption}   "
        if used > len(indent) and used + len(sign(line) + entry) > width:
            entries.append(f"\n{indent}")
            used = len(indent)
        entries.append(sign(line), style=styles[line.label]).append(entry)
        used += len(sign(line) + entry)
    return entries


def sign(line: Line) -> str:
    """What a line is drawn with."""
    return {"measured": POINTS[line.group % len(POINTS)], "marks": "×"}.get(line.kind, "⠤⠤")


def joined(dots: Sequence[tuple[float, float]]) -> list[tuple[int, int]]:
    """The dots (column, row) and those on straight lines between neighbours."""
    marks = [(round(dots[0][0]), round(dots[0][1]))] if dots else []
    for (x0, y0), (x1, y1) in pairwise(dots):
        steps = max(1, round(max(abs(x1 - x0), abs(y1 - y0))))
        marks += [(round(x0 + (x1 - x0) * n / steps), round(y0 + (y1 - y0) * n / steps)) for n in range(1, steps + 1)]
    return marks
