"""``glassgpt compare``: where two models part first, and what the one does otherwise."""

from __future__ import annotations

import re
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from cyclopts import Parameter
from cyclopts.validators import Number

from glassgpt.cli.options import console, print_json

if TYPE_CHECKING:
    from rich.table import Table

    from glassgpt.inspection.compare import Comparison
    from glassgpt.weights.opened import Opened


def compare(
    a: str,
    b: str,
    /,
    *,
    tolerance: Annotated[float, Parameter(validator=Number(gt=0))] = 2e-5,
    json: bool = False,
) -> int:
    """Run two models on the same tokens, and say where they part first and why.

    Every place is compared: embeddings, keys and values, each part of each block, logits. Then the classic causes are
    tried on a until it computes what b does: another GELU, a Conv1D matrix not transposed, another order or split of
    qkv, another epsilon, positions that do not count from 0, a lost bias, mask or scale, an output layer of its own,
    rounded weights. The exit code is 0 if the models are the same and 1 if they part.

        glassgpt compare gpt2 gpt2.gguf
        glassgpt compare runs/my exported

    Args:
        a: The reference: a file or directory of any format, a run, a hub id, or a published size.
        b: The other one. Given here, an ONNX model is run by onnxruntime; all others stand for their weights.
        tolerance: The share of its length that a vector may be off.
        json: Print the comparison as JSON.
    """
    from glassgpt.inspection.scout import scout
    from glassgpt.weights.source import locate

    paths = [locate(source) for source in (a, b)]
    for path in paths:
        scout(path)

    from glassgpt.inspection.compare import compare as run
    from glassgpt.inspection.trace import trace_session
    from glassgpt.weights.formats import open_model

    with console(stderr=True).status("comparing"):
        sides = [open_model(path) for path in paths]
        trace_b = None
        if sides[1].format == "onnx":
            from glassgpt.weights.onnx import Session

            trace_b = partial(trace_session, Session(paths[1]))
        found = run(sides[0].build(), sides[1].build(), trace_b, tolerance)
    described = [describe(*side) for side in zip(paths, sides, strict=True)]
    if json:
        print_json({"a": described[0], "b": described[1], "same": found.first is None, **asdict(found)})
    else:
        for name, side in zip("ab", described, strict=True):
            line = f"{name}  {side['format']} {side['path']} ({', '.join(side['dtypes'])})"
            console().print(line, markup=False, soft_wrap=True)
        show(found)
    return int(found.first is not None)


def describe(path: Path, opened: Opened) -> dict[str, Any]:
    """One of the two models."""
    return {"path": str(path), "format": opened.format, "dtypes": sorted(set(opened.facts["dtypes"].values()))}


def show(found: Comparison) -> None:
    """Prints how far the models are off after each block, where they part, and why."""
    out = console()
    out.print("", table(found), "")
    for name, (a, b) in found.settings.items():
        out.print(f"{name}: {a} in a, {b} in b", markup=False)
    if found.first is None:
        out.print("[green]the same[/]")
        return
    out.print(f"[bold]they part at {found.first}[/]")
    for finding in found.findings:
        end = "" if finding.then is None else f" (that granted, they part at {finding.then})"
        out.print(f"b {finding.explanation}{end}", markup=False, soft_wrap=True)
    if not found.is_explained:
        out.print("nothing that is tried here explains it" + (" all" if found.findings else ""))


def table(found: Comparison) -> Table:
    """One row for the embedding, each block, the last norm and the logits, as far as both show them."""
    from rich.table import Table

    rows = Table(box=None, padding=(0, 2, 0, 0), pad_edge=False)
    rows.add_column("after")
    rows.add_column("off by", justify="right")
    for place, share in found.places.items():
        if re.fullmatch(r"embedding|blocks\.\d+(\.values)?|final_norm|logits", place):
            if place.endswith(".values") and place.removesuffix(".values") in found.places:
                continue
            rows.add_row(place, f"{share:.1e}" if share else "0", style="" if share <= found.tolerance else "yellow")
    return rows
