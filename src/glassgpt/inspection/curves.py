"""The loss curves of runs: ``metrics.jsonl`` in, lines out. How they look: svg.py, braille.py, figure.py."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

from glassgpt.inspection.chart import Line, cropped
from glassgpt.training.metrics import METRICS, read

Unit = Literal["nats", "bits"]

MAX_POINTS = 600  # more cannot be told apart on a screen


def loss_curves(runs: Sequence[Path], unit: Unit = "nats") -> list[Line]:
    """Training loss (as measured and smoothed) and validation loss of each run, over steps.

    In nats a token, or in bits a byte of text: only the latter compares runs with different tokenizers. The training
    loss has no bits.

    Raises:
        FileNotFoundError: a directory is not a run.
        ValueError: a run has no metrics yet.
    """
    lines = []
    for group, run in enumerate(runs):
        prefix = f"{run.resolve().name} " if len(runs) > 1 else ""
        metrics = read_metrics(run)
        if unit == "nats":
            losses = [(float(line["step"]), line["loss"]) for line in metrics if "loss" in line]
            lines.append(Line(f"{prefix}batch", "raw", group, thinned(losses)))
            lines.append(Line(f"{prefix}training", "smooth", group, smoothed(thinned(losses))))
        key = "val_loss" if unit == "nats" else "bits_per_byte"
        held_out = [(float(line["step"]), line[key]) for line in metrics if key in line]
        lines.append(Line(f"{prefix}validation", "measured", group, held_out))
    return cropped([line for line in lines if line.points])


def read_metrics(run: Path) -> list[dict[str, Any]]:
    """The metrics of a run.

    Raises:
        FileNotFoundError: the directory has no metrics.jsonl.
        ValueError: it is empty.
    """
    if not (run / METRICS).is_file():
        raise FileNotFoundError(f"{run} is not a run: it has no {METRICS}")
    if not (metrics := read(run / METRICS)):
        raise ValueError(f"{run} has not finished its first step yet")
    return metrics


def thinned(points: Sequence[tuple[float, float]]) -> list[tuple[float, float]]:
    """At most ``MAX_POINTS`` points: the means of equal shares."""
    size = -(-len(points) // MAX_POINTS)
    shares = [points[start : start + size] for start in range(0, len(points), size or 1)]
    return [(sum(x for x, _ in share) / len(share), sum(y for _, y in share) / len(share)) for share in shares]


def smoothed(points: Sequence[tuple[float, float]], share: float = 0.03) -> list[tuple[float, float]]:
    """The mean around every point, over about ``share`` of all points and fewer at the beginning."""
    reach = round(share * len(points) / 2)
    result = []
    for i, (x, _) in enumerate(points):
        around = min(reach, i)  # as many before as after, so that the steep beginning is not bent
        near = [y for _, y in points[i - around : i + around + 1]]
        result.append((x, sum(near) / len(near)))
    return result


def summary(runs: Sequence[Path]) -> list[dict[str, Any]]:
    """The last and the best measurement of each run."""
    rows = []
    for run in runs:
        metrics = read_metrics(run)
        updates = [line for line in metrics if "loss" in line]
        evaluations = [line for line in metrics if "val_loss" in line]
        best = min(evaluations, key=lambda line: line["val_loss"], default={})
        rows.append(
            {
                "run": run.resolve().name,
                "steps": updates[-1]["step"] if updates else 0,
                "tokens": updates[-1]["tokens"] if updates else 0,
                "loss": updates[-1]["loss"] if updates else None,
                "best_val_loss": best.get("val_loss"),
                "best_bits_per_byte": best.get("bits_per_byte"),
                "best_step": best.get("step"),
            }
        )
    return rows
