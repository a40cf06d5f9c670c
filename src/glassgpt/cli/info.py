"""``glassgpt info``: a model's passport, from its headers, in under a second."""

from __future__ import annotations

from typing import Any

from glassgpt.cli.options import console, print_json


def info(source: str, /, *, json: bool = False) -> None:
    """Show what a stored model is, without loading it.

    Its format, shape, size, parameters, how its numbers are stored, its vocabulary, the training or conversion it comes
    from, and the commands that open it. The headers of a file from elsewhere are read by a process with little memory
    and time.

    Args:
        source: A file or directory of any format, a run, a hub id, or a published size.
        json: Print the passport as JSON.
    """
    from glassgpt.inspection.scout import scout
    from glassgpt.weights.source import locate

    found = scout(locate(source))
    if json:
        print_json(found)
    else:
        show(found)


def show(found: dict[str, Any]) -> None:
    """Prints a passport, a line for each thing."""
    from rich.table import Table
    from rich.text import Text

    from glassgpt.weights.untrusted import printable

    config, vocabulary = found["config"], found["vocabulary"]
    shape = f"{config['num_layers']} layers, {config['emb_dim']} wide, {config['num_heads']} heads"
    head = "tied to the token embedding" if config["tied_head"] else "of its own"
    lines = {
        "path": found["path"],
        "format": f"{found['format']}, {found['bytes']:,} bytes",
        "shape": f"{shape}, {config['context_length']} tokens of context" + (f" ({s})" if (s := found["size"]) else ""),
        "parameters": f"{found['parameters']:,}, output layer {head}, {'' if config['qkv_bias'] else 'no '}qkv bias",
        "stored as": ", ".join(f"{count} tensors {dtype}" for dtype, count in found["dtypes"].items()),
        "quantization": "" if not (how := found["quantization"]) else ", ".join(f"{k} {v}" for k, v in how.items()),
        "vocabulary": "none"
        if vocabulary is None
        else f"{vocabulary['tokens']:,} of {config['vocab_size']:,} rows, sha256 {vocabulary['sha256'][:16]}…",
        "origin": origin(found["origin"]),
        "opens with": ", ".join(f"glassgpt {command}" for command in found["commands"]),
    }
    rows = Table.grid(padding=(0, 2))
    for name, text in lines.items():
        if text:
            rows.add_row(Text(name, style="bold"), Text(printable(text)))
    console().print(rows)


def origin(found: dict[str, Any] | None) -> str:
    """Where a model comes from, in one line."""
    if found is None:
        return "unknown"
    if found["kind"] == "training":
        return (
            f"run {found['run_id']}, step {found['step']:,}, {found['tokens_seen']:,} tokens seen, "
            f"loss {found['loss']:.3f}, seed {found['seed']}"
        )
    return f"converted from {found['format']} {found['path']}"
