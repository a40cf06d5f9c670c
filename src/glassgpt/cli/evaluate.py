"""``glassgpt evaluate``: how well a model predicts a text."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from cyclopts import Parameter

from glassgpt.cli.options import Precision, console, print_json, progress

if TYPE_CHECKING:
    from glassgpt.generation.scoring import Score
    from glassgpt.generation.text import LanguageModel


def evaluate(
    source: str,
    /,
    *,
    text: Annotated[tuple[Path, ...], Parameter(required=True)],
    stride: int | None = None,
    precision: Precision | None = None,
    device: str = "cpu",
    json: bool = False,
) -> None:
    """Measure how well a model predicts a text: loss, perplexity, bits per byte.

    Every token of every document is scored once, from what stands before it. A document longer than the context is read
    in windows; a smaller stride gives more context to each token and takes more time.

        glassgpt evaluate gpt2 --text book.txt
        glassgpt evaluate runs/my --text shakespeare --precision int8

    Args:
        source: A run, a model directory, a hub id, or gpt2, gpt2-medium, gpt2-large, gpt2-xl.
        text: A .txt, .jsonl or .parquet file or a directory of them, as for prepare, or shakespeare, the bundled text;
            may be given several times.
        stride: How many tokens windows are apart, at most the context; half of it by default.
        precision: The numbers that matrices are kept in; by default those of a quantized directory, else float32.
        device: cpu, or an accelerator such as cuda.
        json: Print the figures as JSON.
    """
    texts = documents(text)
    with console(stderr=True).status(f"loading {source}"):
        from glassgpt.generation.text import LanguageModel

        gpt = LanguageModel.load(source, precision, device)
    found = figures(measure(gpt, texts, stride, f"evaluating {source}"))
    found = {"source": source, "text": list(map(str, text)), "precision": gpt.precision, **found}
    if json:
        print_json(found)
        return
    print(f"loss            {found['loss']:.4f} nats a token")
    print(f"perplexity      {found['perplexity']:,.2f}")
    print(f"bits per byte   {found['bits_per_byte']:.4f}")
    print(f"over            {found['num_tokens']:,} tokens, {found['num_bytes']:,} bytes, documents: {len(texts):,}")
    print(f"context         {gpt.model.config.context_length} tokens, stride {found['stride']}")
    print(f"matrices in     {found['precision']}")


def documents(sources: tuple[Path, ...]) -> list[str]:
    """The documents of the files that are meant."""
    from glassgpt.data.documents import find, read

    return [document for path in find(sources) for document in read(path)]


def measure(gpt: LanguageModel, texts: list[str], stride: int | None, what: str) -> Score:
    """The score of texts, with progress while it takes."""
    with progress(what, 100.0) as update:
        return gpt.score(texts, stride, lambda done, total: update(100 * done / total))


def figures(score: Score) -> dict[str, Any]:
    """A score as data."""
    means = {name: getattr(score, name) for name in ("loss", "perplexity", "bits_per_byte")}
    return {**means, **asdict(score)}
