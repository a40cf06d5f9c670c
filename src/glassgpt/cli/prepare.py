"""``glassgpt prepare``: documents become token shards, and what came of them is shown."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from cyclopts import Parameter
from cyclopts.types import NonNegativeFloat, PositiveInt

from glassgpt.cli.options import UsageError, console, print_json, progress

if TYPE_CHECKING:
    from glassgpt.data.manifest import Manifest


def prepare(
    *sources: Path,
    out: Path,
    tokenizer: str = "gpt2",
    vocab_size: PositiveInt | None = None,
    val_fraction: NonNegativeFloat = 0.01,
    field: str = "text",
    workers: PositiveInt | None = None,
    json: Annotated[bool, Parameter(negative="")] = False,
) -> None:
    """Turn documents into token shards, to train on them many times or on several machines.

    A command that was stopped goes on where it was when it is given again.

    Args:
        sources: Files (.txt, .jsonl, .parquet, the first two also .gz, .xz or .zst), directories of them, or
            "shakespeare" for the text that comes with glassgpt. A .txt file is one document.
        out: The directory for the shards, the tokenizer and manifest.json.
        tokenizer: "gpt2", or a directory with a tokenizer.json, a run, or a hub id.
        vocab_size: Learn a vocabulary of this size from the documents instead.
        val_fraction: The share of the documents that is kept for validation.
        field: The field that holds the text of a JSON or Parquet record.
        workers: Threads that encode; by default one a core.
        json: Print the result as JSON.
    """
    if not sources:
        raise UsageError("name at least one source, as in: glassgpt prepare my.jsonl --out data/my")
    if vocab_size is not None and tokenizer != "gpt2":
        raise UsageError("--vocab-size learns a vocabulary, --tokenizer names one: give one or the other")

    from glassgpt.cli.tokens import load
    from glassgpt.data.documents import find
    from glassgpt.data.encoding import engine
    from glassgpt.data.prepare import prepare

    start, text_bytes = time.monotonic(), 0
    with progress("preparing", sum(path.stat().st_size for path in find(sources))) as update:

        def report(done: int, total: int, text: int) -> None:
            nonlocal text_bytes
            text_bytes = text
            update(done, f"{text / 1e6 / (time.monotonic() - start):.1f} MB/s")

        vocabulary = vocab_size or load(tokenizer)
        manifest = prepare(sources, out, vocabulary, field, val_fraction, workers, report=report)
    seconds = time.monotonic() - start
    result = summary(manifest, out) | {"text_bytes": text_bytes, "seconds": seconds, "engine": engine()}
    print_json(result) if json else show(result)


def summary(manifest: Manifest, out: Path) -> dict[str, Any]:
    """What a prepared directory holds."""
    splits = {
        split: {
            "tokens": sum(shard.tokens for shard in shards),
            "documents": sum(shard.documents for shard in shards),
            "shards": len(shards),
        }
        for split, shards in manifest.splits.items()
    }
    facts = manifest.model_dump(include={"vocab_size", "dtype", "tokenizer_sha256", "divided"})
    return {"directory": str(out), "splits": splits, **facts, "digest": manifest.digest}


def show(result: dict[str, Any]) -> None:
    from rich.table import Table

    table = Table(box=None, padding=(0, 3, 0, 0), pad_edge=False)
    for name in ("", "tokens", "documents", "shards"):
        table.add_column(name, justify="right" if name else "left")
    for split, counts in result["splits"].items():
        table.add_row(split, *(f"{count:,}" for count in counts.values()))
    out = console()
    out.print(table)
    if result["divided"] == "by position":
        out.print("\nThere is one document: validation is the end of it.")
    megabytes, seconds = result["text_bytes"] / 1e6, result["seconds"]
    if megabytes:
        speed = (
            f"{megabytes:,.1f} MB of text in {seconds:.1f} s, {megabytes / seconds:.1f} MB/s with {result['engine']}"
        )
    else:
        speed = "It was all done before: nothing was left to do."
    out.print(f"\nvocabulary {result['vocab_size']:,} · {result['dtype']} · {speed}")
    out.print(f"next: glassgpt train {result['directory']}", soft_wrap=True)
