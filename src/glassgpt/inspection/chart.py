"""Lines over two axes: what every picture of a run draws, and the numbers on its axes. Knows no drawing."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Literal, NamedTuple

Kind = Literal["raw", "smooth", "measured", "marks"]  # pale; a line; a line with dots; crosses without a line


@dataclass(frozen=True)
class Line:
    """Points from left to right. Lines of one ``group``, such as a run, share a colour when there are several."""

    label: str
    kind: Kind
    group: int
    points: list[tuple[float, float]]

    @property
    def caption(self) -> str:
        """What a legend says: the label and where the line ends, or how many marks there are."""
        return f"{self.label} {len(self.points)}" if self.kind == "marks" else f"{self.label} {self.points[-1][1]:.3f}"


class Axis(NamedTuple):
    """The range that is shown and the round numbers in it."""

    low: float
    high: float
    ticks: list[float]

    def share(self, value: float) -> float:
        """Where a value lies between low (0) and high (1); beyond the ends it stays at them."""
        return min(1.0, max(0.0, (value - self.low) / (self.high - self.low)))


def axis(values: Iterable[float], count: int) -> Axis:
    """An axis for the values with about ``count`` ticks at 1, 2 or 5 times a power of ten.

    Raises:
        ValueError: there are no values.
    """
    values = list(values)
    if not values:
        raise ValueError("there is nothing to draw yet")
    low, high = min(values), max(values)
    if low == high:
        low, high = low - 0.5, high + 0.5
    rough = (high - low) / count
    power = 10.0 ** math.floor(math.log10(rough))
    step = power * min((1, 2, 5, 10), key=lambda factor: abs(math.log(factor * power / rough)))
    first, last = math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9)
    return Axis(low, high, [round(n * step, 12) for n in range(first, last + 1)])


def axes(lines: Sequence[Line], across: int, up: int) -> tuple[Axis, Axis]:
    """The axes that hold all lines, with about so many ticks; marks that lie higher do not stretch them.

    Raises:
        ValueError: there are no points.
    """
    heights = [y for line in lines for _, y in line.points if line.kind != "marks"]
    return axis([0.0, *(x for line in lines for x, _ in line.points)], across), axis(heights, up)


def colours(lines: Sequence[Line]) -> dict[str, int]:
    """The number of the colour of each line by label: one a run if there are several runs, else one a line."""
    if len({line.group for line in lines}) > 1:
        return {line.label: line.group for line in lines}
    own = {line.label: i for i, line in enumerate(line for line in lines if line.kind != "raw")}
    return {line.label: own.get(line.label, 0) for line in lines}


def cropped(lines: Sequence[Line]) -> list[Line]:
    """The lines without their steep beginning, which would press everything else into a corner.

    Left out is what lies above the height at which every line but pale ones has arrived after its first twentieth.
    Marks stay.
    """
    top = max((height_after_start(line) for line in lines if line.kind not in ("raw", "marks")), default=0.0)
    return [
        line if line.kind == "marks" else replace(line, points=[point for point in line.points if point[1] <= top])
        for line in lines
    ]


def height_after_start(line: Line) -> float:
    return max(y for _, y in line.points[len(line.points) // 20 :])


def number(value: float) -> str:
    """A tick's text: 2,000 and 0.25, never 2000.0; 1.5M from a million on."""
    for size, sign in ((1e9, "B"), (1e6, "M")):
        if abs(value) >= size:
            return f"{value / size:,.10g}{sign}"
    return f"{value:,.10g}"
