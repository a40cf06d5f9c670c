"""Loss curves: from metrics.jsonl to lines, and from lines to a terminal, an SVG and a PNG."""

from __future__ import annotations

import json
import math
from pathlib import Path
from xml.etree import ElementTree

import pytest

from glassgpt.inspection import braille, svg
from glassgpt.inspection.chart import Line, axes, axis, number
from glassgpt.inspection.curves import MAX_POINTS, loss_curves, smoothed, summary, thinned


@pytest.fixture
def run(tmp_path: Path) -> Path:
    """A run of 1,000 steps whose loss falls from 6 to 3, measured every 100 steps."""
    directory = tmp_path / "night"
    directory.mkdir()
    with (directory / "metrics.jsonl").open("w") as file:
        for step in range(1, 1001):
            loss = 3 + 3 * math.exp(-step / 100)
            file.write(json.dumps({"step": step, "tokens": 64 * step, "loss": loss}) + "\n")
            if step % 100 == 0:
                measured = {"step": step, "tokens": 64 * step, "val_loss": loss + 0.1, "bits_per_byte": loss / 2}
                file.write(json.dumps(measured) + "\n")
    return directory


def test_a_run_has_a_training_and_a_validation_curve(run):
    raw, training, validation = loss_curves([run])
    assert [raw.label, training.label, validation.label] == ["batch", "training", "validation"]
    assert validation.points[-1] == (1000, pytest.approx(3.1, abs=1e-3))
    assert training.points[-1][1] == pytest.approx(3.0, abs=1e-3)


def test_bits_a_byte_compare_runs_whatever_their_tokenizers(run):
    (line,) = loss_curves([run], "bits")
    assert line.kind == "measured"
    assert line.points[-1][1] == pytest.approx(1.5, abs=1e-3)


def test_several_runs_are_told_apart_by_name(run):
    assert {line.label for line in loss_curves([run, run])} == {"night batch", "night training", "night validation"}


def test_spikes_are_marked_where_they_are_and_do_not_stretch_the_axes(run):
    with (run / "metrics.jsonl").open("a") as file:
        file.write(
            json.dumps({"step": 900, "score": 9.0, "spike_loss": 50.0, "median_loss": 3.0, "windows": [1]}) + "\n"
        )
    lines = loss_curves([run])
    assert (lines[-1].kind, lines[-1].points, lines[-1].caption) == ("marks", [(900.0, 50.0)], "spikes 1")
    assert axes(lines, 5, 5)[1].high < 5
    assert "×" in braille.draw(lines).plain
    assert svg.draw(lines, "night", "step", "loss").count("l8 8m0 -8l-8 8") == 2, "the mark and its legend"


@pytest.mark.parametrize(("across", "last"), [("step", 1000), ("tokens", 64_000), ("minutes", 20)])
def test_curves_run_over_steps_tokens_or_time(run, across, last):
    """The run was resumed: its 1,000 steps took ten minutes in one process and ten in another."""
    path = run / "metrics.jsonl"
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    for line in lines:
        if "loss" in line:
            line["seconds"] = 1.2 * (line["step"] if line["step"] <= 500 else line["step"] - 500)
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    assert all(line.points[-1][0] == pytest.approx(last, rel=1e-3) for line in loss_curves([run], across=across))


def test_what_is_no_run_is_refused(tmp_path):
    with pytest.raises(FileNotFoundError, match="is not a run"):
        loss_curves([tmp_path])
    (tmp_path / "metrics.jsonl").touch()
    with pytest.raises(ValueError, match="first step"):
        loss_curves([tmp_path])


def test_the_steep_beginning_is_left_out(run):
    training = loss_curves([run])[1]
    assert max(y for _, y in training.points) < 5


def test_thinning_keeps_the_mean():
    points = [(float(x), float(x % 7)) for x in range(6000)]
    thin = thinned(points)
    assert len(thin) == MAX_POINTS
    assert sum(y for _, y in thin) / MAX_POINTS == pytest.approx(sum(y for _, y in points) / 6000)


def test_smoothing_keeps_a_straight_line():
    line = [(float(x), 5.0 - 0.25 * x) for x in range(200)]
    assert smoothed(line)[:197] == line[:197]


def test_the_summary_names_the_best_measurement(run):
    (row,) = summary([run])
    assert (row["run"], row["steps"], row["tokens"], row["best_step"]) == ("night", 1000, 64000, 1000)


@pytest.mark.parametrize(
    ("values", "ticks"),
    [
        ([0, 1000], [0, 200, 400, 600, 800, 1000]),
        ([3.1, 5.9], [3.5, 4.0, 4.5, 5.0, 5.5]),
        ([0.9, 0.92], [0.9, 0.905, 0.91, 0.915, 0.92]),
        ([2, 2], [1.6, 1.8, 2.0, 2.2, 2.4]),
    ],
)
def test_ticks_are_round_numbers(values, ticks):
    assert axis(values, 5).ticks == pytest.approx(ticks)
    assert [number(value) for value in (2000.0, 0.25, 1.5e6, 3e11)] == ["2,000", "0.25", "1.5M", "300B"]


def test_a_terminal_picture_has_axes_curves_and_a_legend(run):
    picture = braille.draw(loss_curves([run]), width=60, height=10).plain
    rows = picture.splitlines()
    assert len(rows) == 13 and all(len(row) <= 60 for row in rows[:12])
    assert sum(row.count("●") for row in rows[:10]) >= 8
    assert "training 3.000   ● validation 3.100" in rows[-1]
    assert "1,000" in rows[-2]


def test_runs_are_told_apart_without_colours():
    lines = [Line(f"{name} validation", "measured", i, [(5, 2.5 + i)]) for i, name in enumerate(["a", "b"])]
    picture = braille.draw(lines).plain
    assert "● a validation 2.500" in picture and "○ b validation 3.500" in picture
    assert (picture.count("●"), picture.count("○")) == (2, 2)


def test_a_terminal_picture_of_one_point(run):
    assert "●" in braille.draw([Line("validation", "measured", 0, [(5, 2.5)])]).plain


def test_nothing_to_draw_is_an_error():
    with pytest.raises(ValueError, match="nothing to draw"):
        svg.draw([], "empty", "step", "loss")


def test_an_svg_keeps_text_as_text_and_knows_the_dark(run):
    drawing = svg.draw(loss_curves([run]), "night <1>", "step", "loss")
    root = ElementTree.fromstring(drawing)
    texts = [element.text for element in root.iter("{http://www.w3.org/2000/svg}text")]
    assert {"night <1>", "step", "loss", "training 3.000", "validation 3.100", "1,000"} <= set(texts)
    assert "prefers-color-scheme:dark" in drawing
    assert drawing == svg.draw(loss_curves([run]), "night <1>", "step", "loss")


def test_a_png_shows_the_same_picture(run):
    pytest.importorskip("resvg_py", reason="needs the extra 'plot'")
    assert svg.png(svg.draw(loss_curves([run]), "night", "step", "loss"), width=300).startswith(b"\x89PNG")
