"""``glassgpt quantize``: a model in a quarter or an eighth of its size, and what that costs."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from glassgpt.cli.evaluate import documents, figures, measure
from glassgpt.cli.options import console, print_json, progress

if TYPE_CHECKING:
    from rich.table import Table

SAMPLE = 2**14  # characters of the bundled text that are read where none is named


def quantize(
    source: str,
    /,
    *,
    to: Literal["int8", "int4"],
    out: Path,
    text: tuple[Path, ...] = (),
    stride: int | None = None,
    tokenizer: str | None = None,
    json: bool = False,
) -> None:
    """Store a model's matrices in eight or four bits, and measure what it costs.

    The result is a directory that generate, evaluate, convert, compare and info open; transformers does not. The text
    is scored before, and after by what was written. A killed run leaves nothing at OUT.

        glassgpt quantize gpt2 --to int8 --out gpt2-int8
        glassgpt quantize runs/my --to int4 --out small --text held-out.txt

    Args:
        source: A file or directory of any format, a run, a hub id, or gpt2, gpt2-medium, gpt2-large, gpt2-xl.
        to: The bits of a number. int8 costs next to nothing; int4 (int8 where tokens come in and go out) is smaller.
        out: Where it goes; nothing may be there yet.
        text: What to measure on: files as for evaluate. By default the first 16,384 characters of the bundled
            Shakespeare.
        stride: How many tokens windows are apart where a text exceeds the context; half the context by default.
        tokenizer: For a source without one: "gpt2", or a directory with a tokenizer.json.
        json: Print the figures as JSON.
    """
    from glassgpt.cli.tokens import load
    from glassgpt.generation.text import LanguageModel
    from glassgpt.quantization.precision import use_precision
    from glassgpt.weights.formats import open_model, staged, write_model
    from glassgpt.weights.source import locate

    path, (texts, name) = locate(source), sample(text)
    opened = open_model(path)
    if (chosen := opened.tokenizer if tokenizer is None else load(tokenizer)) is None:
        raise ValueError(f"{source} has no tokenizer: name one, as in --tokenizer gpt2")
    if opened.format == "quantized":
        raise ValueError(f"{source} is quantized already: give the original model")
    opened = opened.with_tokenizer(chosen)
    with staged(out) as stage:
        with console(stderr=True).status(f"loading {source}"):
            plain = LanguageModel(opened.build(), chosen)
            use_precision(plain.model, "float32")
        before = measure(plain, texts, stride, "measuring before")
        del plain
        with progress("quantizing", 100.0) as update:
            write_model(opened, "quantized", stage, to, lambda tensor, done, total: update(100 * done / total, tensor))
        sizes = {"before": size(path), "after": size(stage)}
        after = measure(LanguageModel.load(stage), texts, stride, "measuring after")
    found = {
        "source": source, "out": str(out), "to": to, "text": name, "bytes": sizes,
        "before": figures(before), "after": figures(after),
    }  # fmt: skip
    if json:
        print_json(found)
    else:
        console().print(table(found))
        print(f"on {name}: {before.num_tokens:,} tokens, {before.num_bytes:,} bytes, stride {before.stride}")


def sample(text: tuple[Path, ...]) -> tuple[list[str], str]:
    """The texts to measure on, and what to call them."""
    from glassgpt.data.documents import SHAKESPEARE

    if text:
        return documents(text), ", ".join(map(str, text))
    [whole] = documents((SHAKESPEARE,))
    return [whole[:SAMPLE]], f"the first {SAMPLE:,} characters of the bundled Shakespeare"


def size(path: Path) -> int:
    """How many bytes a file has, or the files in a directory together."""
    files = [path] if path.is_file() else [file for file in path.iterdir() if file.is_file()]
    return sum(file.stat().st_size for file in files)


def table(found: dict[str, Any]) -> Table:
    """Size and loss before and after."""
    from rich.table import Table

    sizes, before, after = found["bytes"], found["before"], found["after"]
    rows = Table(box=None, padding=(0, 2, 0, 0), pad_edge=False)
    for heading in ("", "before", found["to"], "change"):
        rows.add_column(heading, justify="right" if heading else "left", no_wrap=True)
    share = sizes["after"] / sizes["before"] - 1
    rows.add_row("bytes", f"{sizes['before']:,}", f"{sizes['after']:,}", f"{share:+.1%}")
    for key, digits in (("bits_per_byte", 4), ("loss", 4), ("perplexity", 2)):
        a, b = before[key], after[key]
        rows.add_row(key.replace("_", " "), f"{a:,.{digits}f}", f"{b:,.{digits}f}", f"{b - a:+,.{digits}f}")
    return rows
