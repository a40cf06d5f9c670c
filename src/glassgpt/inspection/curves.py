"""The loss curves of runs: ``metrics.jsonl`` in, lines out. How they look: svg.py, braille.py."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

from glassgpt.inspection.chart import Line, cropped
from glassgpt.training.metrics import METRICS, read

Unit = Literal["nats", "bits"]
Across = Literal["step", "tokens", "minutes"]

KEYS = {"nats": "val_loss", "bits": "bits_per_byte"}
MAX_POINTS = 600  # more cannot be told apart on a screen


def loss_curves(runs: Sequence[Path], unit: Unit = "nats", across: Across = "step") -> list[Line]:
    """Training loss (as measured and smoothed) with its spikes, and validation loss of each run.

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
        places = positions(metrics, across)
        if unit == "nats":
            losses = thinned(points(metrics, places, "loss"))
            lines.append(Line(f"{prefix}batch", "raw", group, losses))
            lines.append(Line(f"{prefix}training", "smooth", group, smoothed(losses)))
        lines.append(Line(f"{prefix}validation", "measured", group, points(metrics, places, KEYS[unit])))
        if unit == "nats":
            lines.append(Line(f"{prefix}spikes", "marks", group, points(metrics, places, "spike_loss")))
    return cropped([line for line in lines if line.points])


def points(metrics: Sequence[dict[str, Any]], places: Sequence[float], key: str) -> list[tuple[float, float]]:
    """What the metrics say under ``key``, where they say it."""
    return [(x, line[key]) for x, line in zip(places, metrics, strict=True) if key in line]


def positions(metrics: Sequence[dict[str, Any]], across: Across) -> list[float]:
    """Where each line of metrics lies: at its step, or at the tokens or the minutes of training up to it.

    What has only a step, such as a spike, lies where the update before it does. Seconds are counted by every process
    anew, so that those of earlier processes are added.
    """
    found, tokens, seconds, earlier = [], 0, 0.0, 0.0
    for line in metrics:
        tokens, now = line.get("tokens", tokens), line.get("seconds", seconds)
        earlier += seconds if now < seconds else 0.0
        seconds = now
        found.append(float({"step": line["step"], "tokens": tokens, "minutes": (earlier + seconds) / 60}[across]))
    return found


def read_metrics(run: Path) -> list[dict[str, Any]]:
    """The metrics of a run.

    Raises:
        FileNotFoundError: the directory has no metrics.jsonl.
        ValueError: it is empty.
    """
    if not (run / METRICS).is_file():
        raise FileNotFoundError(f"{run} is not a run: it has no {METRICS}; name a directory that glassgpt train made")
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
