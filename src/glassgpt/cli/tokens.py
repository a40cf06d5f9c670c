"""``glassgpt tokens``: how a text is cut into tokens, in colour and as a table."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from itertools import cycle
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from cyclopts import Parameter

from glassgpt.cli.options import UsageError, console, print_json

if TYPE_CHECKING:
    from rich.table import Table
    from rich.text import Text

    from glassgpt.tokenizer.tokenizer import Tokenizer

# Paul Tol's light scheme, made for filling cells under black text and told apart by colour-blind eyes:
# https://sronpersonalpages.nl/~pault/
STYLES = [f"#000000 on {colour}" for colour in ("#77aadd", "#eedd88", "#ffaabb", "#44bb99", "#ee8866")]
WHITESPACE = {" ": "·", "\n": "⏎", "\t": "→"}


def tokens(
    text: Annotated[str | None, Parameter(allow_leading_hyphen=True)] = None,  # "-" is no option
    /,
    *,
    tokenizer: str = "gpt2",
    special: bool = False,
    json: bool = False,
) -> None:
    """Show how a text is cut into tokens.

    A space is shown as ·, a line break as ⏎ and a tab as →; half a character, which a token can be, as its bytes.

    Args:
        text: The text. "-" reads standard input, and so does no text when something is piped in.
        tokenizer: "gpt2", or a directory with a tokenizer.json, a run, or a hub id.
        special: Takes <|endoftext|> for the token that ends a document instead of for text.
        json: Prints a list of {"id", "text", "bytes"} instead.
    """
    if text is None or text == "-":
        text = piped()
    chosen = load(tokenizer)
    ids = chosen.encode(text, special)
    pieces = [chosen.token_bytes(id) for id in ids]
    if json:
        rows = zip(ids, pieces, strict=True)
        print_json([{"id": id, "text": chosen.decode([id]), "bytes": list(piece)} for id, piece in rows])
        return
    out = console()
    is_coloured = out.color_system is not None and not out.no_color
    out.print(in_colour(pieces, "" if is_coloured else "│"), soft_wrap=True)
    out.print("", table(ids, pieces), f"\n{summary(text, pieces)}", sep="\n")


def piped() -> str:
    """The text on standard input."""
    if sys.stdin.isatty():
        raise UsageError('there is no text: give one, such as "Every effort moves you", or pipe one in')
    try:
        return sys.stdin.buffer.read().decode()
    except UnicodeDecodeError as error:
        raise ValueError(f"standard input is not UTF-8 text: {error}") from None


def load(source: str) -> Tokenizer:
    """The tokenizer that the user means: the package's own, or one from a directory, a run or the hub."""
    from glassgpt.tokenizer.gpt2 import gpt2
    from glassgpt.tokenizer.tokenizer import Tokenizer

    if source == "gpt2":
        return gpt2()
    directory = Path(source)
    if not directory.is_dir() or (directory / "checkpoints").is_dir():
        from glassgpt.weights.source import find

        directory = find(source)
    return Tokenizer.load(directory)


def in_colour(pieces: Sequence[bytes], separator: str) -> Text:
    """The text with a background for every token, and ``separator`` between tokens where there are no colours."""
    from rich.text import Text

    text = Text()
    for i, (piece, style) in enumerate(zip(pieces, cycle(STYLES), strict=False)):
        text.append(separator if i else "")
        text.append(visible(piece).replace("⏎", "⏎\n"), style)
    return text


def table(ids: Sequence[int], pieces: Sequence[bytes]) -> Table:
    """One row a token: its id, its bytes as Python writes them, and its text."""
    from rich.table import Table
    from rich.text import Text

    rows = Table(box=None, padding=(0, 3, 0, 0), pad_edge=False)
    rows.add_column("id", justify="right")
    rows.add_column("bytes", overflow="fold")
    rows.add_column("text", overflow="fold")
    for id, piece, style in zip(ids, pieces, cycle(STYLES), strict=False):
        rows.add_row(str(id), Text(repr(piece)[1:]), Text().append(visible(piece), style))
    return rows


def visible(piece: bytes) -> str:
    """A token's text with whitespace as signs; half characters and what a terminal would obey as escapes."""
    text = piece.decode("utf-8", "backslashreplace")
    return "".join(WHITESPACE.get(c) or (c if c.isprintable() else ascii(c)[1:-1]) for c in text)


def summary(text: str, pieces: Sequence[bytes]) -> str:
    """How much text the tokens hold."""
    size = sum(map(len, pieces))
    share = size / max(len(pieces), 1)
    return f"tokens {len(pieces):,} · characters {len(text):,} · bytes {size:,} · bytes a token {share:.1f}"
