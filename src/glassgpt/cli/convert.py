"""``glassgpt convert``: a model from one format to another, with a certificate of what was kept."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from glassgpt.cli.options import console, print_json, progress

if TYPE_CHECKING:
    from rich.table import Table

    from glassgpt.weights.certificate import Certificate, StoredModel, TensorLine

Format = Literal["hf", "quantized", "gguf", "onnx", "openai", "book", "nanogpt", "llmc"]
Dtype = Literal["float32", "float16", "bfloat16", "q8_0", "q5_0", "q4_0", "int8", "int4"]


def convert(
    source: str,
    destination: Path,
    /,
    *,
    to: Format,
    dtype: Dtype | None = None,
    tokenizer: str | None = None,
    json: bool = False,
) -> None:
    """Convert a model to another format, and prove it: what was written is read again and compared.

    The certificate is shown and kept: inside a directory as certificate.json, beside a file as NAME.certificate.json.
    Where the model changed by more than rounding allows, nothing appears and the exit code is 1. docs/convert.md has
    what each format can say.

        glassgpt convert gpt2 gpt2.gguf --to gguf --dtype q8_0
        glassgpt convert ckpt.pt model --to hf --tokenizer gpt2

    Args:
        source: A file or directory of any format, a run, a hub id, or gpt2, gpt2-medium, gpt2-large, gpt2-xl.
        destination: Where it goes; nothing may be there yet.
        to: The format.
        dtype: How numbers are stored; q8_0, q5_0 and q4_0 (8, 5 and 4 bits) in GGUF only, int8 and int4 in quantized
            only. Default: the format's own.
        tokenizer: For a source without one: "gpt2", or a directory with a tokenizer.json.
        json: Print the certificate as JSON.
    """
    from glassgpt.cli.tokens import load
    from glassgpt.inspection.scout import scout
    from glassgpt.weights.source import locate

    scout(found := locate(source))

    from glassgpt.weights.conversion import DoesNotHold, certificate_path
    from glassgpt.weights.conversion import convert as run

    chosen = None if tokenizer is None else load(tokenizer)
    broken = None
    with progress(f"converting {source}", 100.0) as update:
        try:
            certificate = run(
                found,
                destination,
                to,
                dtype,
                chosen,
                lambda name, done, total: update(100 * done / total, name),
            )
        except DoesNotHold as error:
            certificate, broken = error.certificate, error
    if json:
        print_json(certificate.model_dump())
    else:
        show(certificate)
    if broken:
        raise ValueError(f"{broken}. Nothing was written to {destination}")
    if not json:
        print(f"certificate: {certificate_path(destination)}")


def show(certificate: Certificate) -> None:
    """Prints a certificate, layers that are alike in one line."""
    from glassgpt.weights.untrusted import printable

    out = console()
    out.print(table(certificate.tensors), "")
    for side, stored in (("from", certificate.source), ("to", certificate.destination)):
        out.print(f"{side:<5}{stored.format} {stored.path} · {digest(stored)}", markup=False, soft_wrap=True)
    logits, greedy = certificate.logits, certificate.greedy
    transposed = sum(line.transposed for line in certificate.tensors)
    out.print(f"{len(certificate.tensors)} tensors, {transposed} transposed")
    out.print(
        f"logits up to {logits.largest:.3g}, off by {logits.largest_difference:.2g} (allowed: {logits.tolerance:.2g})"
    )
    out.print(f"greedy continuations: {greedy.agreed} of {greedy.of} tokens agree")
    for remark in certificate.remarks:
        out.print(f"note: {printable(remark)}", markup=False, soft_wrap=True)


def table(lines: list[TensorLine]) -> Table:
    """One row for each tensor, all layers in one."""
    from rich.table import Table

    rows = Table(box=None, padding=(0, 2, 0, 0), pad_edge=False)
    for heading in ("from", "to"):
        rows.add_column(heading, overflow="fold")
    for heading in ("shape", "dtype", "off by"):
        rows.add_column(heading, no_wrap=True)
    kinds: dict[str, list[TensorLine]] = {}
    for line in lines:
        kinds.setdefault(re.sub(r"^blocks\.\d+", "blocks", line.name), []).append(line)
    for same in kinds.values():
        first = same[0]
        rows.add_row(
            "\n".join(map(star, first.source)) or "(zeros)",
            "\n".join(map(star, first.destination)),
            "×".join(map(str, first.shape)) + (" ᵀ" if first.transposed else ""),
            first.dtype,
            f"{max(line.largest_difference for line in same):.2g}",
        )
    return rows


def star(name: str) -> str:
    """A name of the first layer as that of all layers, without what begins them all."""
    return re.sub(r"(?<=[.h])0(?=[./])", "*", name.removeprefix("transformer."), count=1)


def digest(stored: StoredModel) -> str:
    """What identifies a stored model, on one line."""
    if len(stored.files) > 1:
        return f"{len(stored.files)} files"
    return f"sha256 {next(iter(stored.files.values()))[:16]}…"
