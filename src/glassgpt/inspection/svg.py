"""Lines as an SVG file: text stays text, and the colours follow the reader's light or dark mode."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape

from glassgpt.inspection.chart import Axis, Line, axes, colours, number

WIDTH, HEIGHT = 760, 440
LEFT, RIGHT, TOP, BOTTOM = 64, 736, 56, 384  # the plotting area
# Okabe and Ito's palette, told apart by colour-blind eyes: deeper on white, brighter on black.
LIGHT = ("#0072b2", "#d55e00", "#00805d", "#a8428c", "#8a6d00", "#555555")
DARK = ("#56b4e9", "#ff9d4d", "#2bc4a0", "#e48fc4", "#e6c440", "#bbbbbb")


def draw(lines: Sequence[Line], title: str, x_label: str, y_label: str) -> str:
    """The text of an SVG file.

    Raises:
        ValueError: there are no points.
    """
    shown = [line for line in lines if line.kind != "raw"]
    across, up = axes(lines, 7, 6)
    numbers = {label: i % len(LIGHT) for label, i in colours(lines).items()}
    middle, centre = (LEFT + RIGHT) / 2, (TOP + BOTTOM) / 2
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" role="img">',
        f"<title>{escape(title)}</title>",
        f"<style>{style()}</style>",
        f'<rect class="paper" width="{WIDTH}" height="{HEIGHT}"/>',
        text(LEFT, 32, title, "title"),
        *grid(across, up),
        *(mark for line in lines for mark in curve(line, numbers[line.label], across, up)),
        *legend(shown, numbers),
        text(middle, BOTTOM + 42, x_label, "middle"),
        f'<text class="middle" transform="translate(18 {centre:g}) rotate(-90)">{escape(y_label)}</text>',
        "</svg>",
    ]
    return "\n".join(parts) + "\n"


def png(svg: str, width: int = 2 * WIDTH) -> bytes:
    """The content of a PNG file showing the picture in its light colours.

    Raises:
        ImportError: the extra "plot" is not installed.
    """
    try:
        import resvg_py
    except ImportError as error:
        raise ImportError("a PNG needs the extra: pip install 'glassgpt[plot]'; an SVG does not") from error
    return bytes(resvg_py.svg_to_bytes(svg_string=svg, width=width))


def style() -> str:
    def palette(colours: Sequence[str]) -> str:
        return "".join(f".c{i}{{stroke:{c}}} .f{i}{{fill:{c}}} " for i, c in enumerate(colours))

    return (
        "text{font-family:system-ui,Helvetica,Arial,'DejaVu Sans',sans-serif;font-size:13px;fill:#555} "
        ".title{font-size:17px;font-weight:600;fill:#111} "
        ".end{text-anchor:end;paint-order:stroke;stroke:#fff;stroke-width:5px} "
        ".middle{text-anchor:middle} .paper{fill:#fff} .grid{stroke:#e4e4e4} "
        ".line{fill:none;stroke-width:2;stroke-linejoin:round} .raw{stroke-width:1;opacity:.25} " + palette(LIGHT) +
        "@media (prefers-color-scheme:dark){text{fill:#aaa} .title{fill:#eee} .paper{fill:#14171c} "
        ".end{stroke:#14171c} .grid{stroke:#2b3038} " + palette(DARK) + "}"
    )  # fmt: skip


def legend(lines: Sequence[Line], colours: dict[str, int]) -> list[str]:
    """One row a line in the upper right corner, which a falling curve leaves free."""
    parts = []
    for i, line in enumerate(lines):
        y, colour = TOP + 18 + 20 * i, colours[line.label]
        parts.append(text(RIGHT - 40, y + 4, line.caption, "end"))
        if line.kind == "marks":
            parts.append(cross(colour, RIGHT - 21, y))
            continue
        parts.append(f'<path class="line c{colour}" d="M{RIGHT - 32} {y}h22"/>')
        if line.kind == "measured":
            parts.append(f'<circle class="f{colour}" cx="{RIGHT - 21}" cy="{y}" r="3"/>')
    return parts


def grid(across: Axis, up: Axis) -> list[str]:
    parts = []
    for tick in up.ticks:
        _, y = place(across, up, (across.low, tick))
        parts.append(f'<path class="grid" d="M{LEFT} {y:.1f}H{RIGHT}"/>')
        parts.append(text(LEFT - 8, y + 4, number(tick), "end"))
    for tick in across.ticks:
        x, _ = place(across, up, (tick, up.low))
        parts.append(f'<path class="grid" d="M{x:.1f} {BOTTOM}v5"/>')
        parts.append(text(x, BOTTOM + 20, number(tick), "middle"))
    return parts


def curve(line: Line, colour: int, across: Axis, up: Axis) -> list[str]:
    places = [place(across, up, point) for point in line.points]
    if line.kind == "marks":
        return [cross(colour, x, y) for x, y in places]
    path = "L".join(f"{x:.1f} {y:.1f}" for x, y in places)
    parts = [f'<path class="line {line.kind} c{colour}" d="M{path}"/>']
    if line.kind == "measured":
        parts += [f'<circle class="f{colour}" cx="{x:.1f}" cy="{y:.1f}" r="3"/>' for x, y in places]
    return parts


def cross(colour: int, x: float, y: float) -> str:
    return f'<path class="line c{colour}" d="M{x - 4:.1f} {y - 4:.1f}l8 8m0 -8l-8 8"/>'


def place(across: Axis, up: Axis, point: tuple[float, float]) -> tuple[float, float]:
    """Where a point lies in the picture; one beyond the axes lies on the edge."""
    return LEFT + across.share(point[0]) * (RIGHT - LEFT), BOTTOM - up.share(point[1]) * (BOTTOM - TOP)


def text(x: float, y: float, words: str, style: str) -> str:
    return f'<text class="{style}" x="{x:g}" y="{y:g}">{escape(words)}</text>'
