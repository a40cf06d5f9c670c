"""``glassgpt replay``: the batch of a past step, window by window, the odd one first."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from cyclopts import Parameter
from cyclopts.validators import Number

from glassgpt.cli.options import console, print_json, printable

if TYPE_CHECKING:
    from glassgpt.inspection.replay import Shown

Count = Annotated[int, Parameter(validator=Number(gte=1))]


def replay(run: Path, /, *, step: Count, windows: Count = 4, json: bool = False) -> None:
    """Show what training saw at a step: the text of each window, where it comes from, and how the model took it.

    The batch is rebuilt from the run's configuration and tokens, which must not have changed. With a checkpoint from
    before the step each window has its loss under those weights, and the windows are sorted by it.

    Args:
        run: A run directory, such as runs/demo.
        step: A step as metrics.jsonl and messages count them.
        windows: How many windows to print; --json has them all.
        json: Print everything as JSON.
    """
    with console(stderr=True).status("checking the tokens"):
        from glassgpt.inspection.replay import check, measure, rebuild
        from glassgpt.training.metrics import METRICS, read
        from glassgpt.training.start import reopen
        from glassgpt.weights.checkpoint import newest
        from glassgpt.weights.directory import load_model

        opened = reopen(run)
        before = newest(run / "checkpoints", until=step - 1)
        witness = before or newest(run / "checkpoints")
        check(opened, witness)
        shown = rebuild(opened, step)
        if before is not None:
            shown = measure(opened, shown, load_model(before.path))
    lines = read(run / METRICS) if (run / METRICS).is_file() else []
    recorded = next((line["loss"] for line in lines if line["step"] == step and "loss" in line), None)
    result = {
        "run": str(run),
        "step": step,
        "epoch": opened.batches.epoch(step - 1),
        "context_length": opened.context_length,
        "recorded_loss": recorded,
        "checkpoint": None if before is None else str(before.path),
        "updates_since": None if before is None else step - 1 - before.step,
        "data_verified": opened.train.manifest is not None and witness is not None,
        "windows": [asdict(row) for row in shown],
    }
    if json:
        print_json(result)
    else:
        picture(result, shown[:windows])


def picture(result: dict[str, Any], shown: list[Shown]) -> None:
    """Prints the batch and some of its windows."""
    out = console()
    num_windows = len(result["windows"])
    out.print(
        f"[bold]step {result['step']:,}[/] of {result['run']}: {num_windows} windows of {result['context_length']} "
        f"tokens, epoch {result['epoch']}",
        soft_wrap=True,
    )
    if result["recorded_loss"] is not None:
        out.print(f"loss {result['recorded_loss']:.4f} in training")
    if result["checkpoint"] is None:
        out.print("no losses: no checkpoint from before it is left (checkpoint.keep_every keeps some)", soft_wrap=True)
    else:
        since = result["updates_since"]
        age = f"{since:,} update{'s' * (since > 1)} before the batch" if since else "just before the batch"
        out.print(f"losses by {result['checkpoint']}, {age}, without dropout", soft_wrap=True)
    if not result["data_verified"]:
        out.print("these may be other tokens than those of then: there is no manifest or no checkpoint", soft_wrap=True)
    for row in shown:
        loss = "" if row.loss is None else f", loss {row.loss:.4f} ({row.score:+.1f} deviations)"
        source = f"from token {row.start:,} ({row.file} {row.file_start:,})"
        out.print(f"\n[bold]window {row.window}[/], row {row.row}, {source}{loss}", soft_wrap=True)
        for piece in row.pieces:
            out.print(f"[dim]document {piece.number}, from its token {piece.offset:,}[/]")
            out.print(printable(piece.text), markup=False, soft_wrap=True)
    if (rest := num_windows - len(shown)) > 0:
        out.print(f"\n[dim]{rest} more: --windows {num_windows}, or --json[/]")
