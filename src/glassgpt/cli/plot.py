"""``glassgpt plot``: the loss curves of runs, in the terminal and as a file."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Literal

from cyclopts import Parameter

from glassgpt.cli.options import UsageError, console, print_json


def plot(
    *runs: Annotated[Path, Parameter(required=True)],
    out: Path | None = None,
    bits: bool = False,
    x: Literal["step", "tokens", "minutes"] = "step",
    json: bool = False,
) -> None:
    """Draw the loss curves of one or more runs, held-out loss and spikes included.

    Args:
        runs: Run directories, such as runs/demo.
        out: A file to draw them to as well, .svg or .png (which needs the extra "plot").
        bits: Bits a byte of held-out text instead of nats a token: comparable whatever the tokenizers.
        x: What the curves run over: steps, tokens seen, or minutes of training.
        json: Print the curves and the best results as JSON.
    """
    from glassgpt.inspection import braille, svg
    from glassgpt.inspection.curves import loss_curves, summary

    if out is not None and out.suffix not in (".svg", ".png"):
        raise UsageError(f"--out {out}: a picture ends in .svg or .png")
    lines = loss_curves(runs, "bits" if bits else "nats", x)
    if out is not None:
        title = ", ".join(run.resolve().name for run in runs)
        drawing = svg.draw(lines, title, x, "bits a byte" if bits else "loss (nats a token)")
        out.write_bytes(svg.png(drawing) if out.suffix == ".png" else drawing.encode())
    if json:
        print_json({"runs": summary(runs), "lines": [asdict(line) for line in lines]})
        return
    terminal = console()
    terminal.print(braille.draw(lines, min(terminal.width, 100), x_label=x))
    for row in summary(runs):
        best = "nothing measured yet"
        if row["best_val_loss"] is not None:
            best = f"best validation {row['best_val_loss']:.4f} ({row['best_bits_per_byte']:.4f} bits a byte)"
            best += f" at step {row['best_step']:,}"
        steps = f"{row['steps']:,} steps, {row['tokens']:,} tokens"
        terminal.print(f"[bold]{row['run']}[/]  {steps}, {best}", soft_wrap=True)
    if out is not None:
        terminal.print(f"drawn to {out}", markup=False)
