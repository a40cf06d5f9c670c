"""What a file of text may be: ``.txt`` (a file is a document), ``.jsonl`` (a line is one), ``.parquet`` (a row is one).

The first two may be compressed: ``.gz``, ``.xz``, ``.zst``. However large a file, only a little of it is in memory.
Knows nothing of tokens.
"""

from __future__ import annotations

import codecs
import gzip
import io
import json
import lzma
import re
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

COMPRESSIONS = (".gz", ".xz", ".zst")
PIECE = 2**20  # characters of a long text handed on together
LONGEST_WORD = 2**22  # characters
ANOTHER = "name another field with --field, or --data.field of glassgpt train"
LONGEST_LINE = 2**24  # bytes

# GPT-2 cuts text into words, and never one that goes on from a visible character to a space or line feed: a text may
# be cut there without changing its tokens.
CUT = re.compile(r".*\S(?=[ \n])", re.DOTALL)


class Piece(NamedTuple):
    """A document or, of a long text, a part; ``is_start`` says whether a document begins with it.

    ``position`` is how many bytes of the file have been read so far.
    """

    text: str
    is_start: bool
    position: int


def text_pieces(path: Path, field: str) -> Iterator[Piece]:
    with path.open("rb") as raw:
        stream, decoder = decompressed(raw, path), codecs.getincrementaldecoder("utf-8")()
        offset, text, is_start = 0, "", True
        while chunk := stream.read(PIECE):
            if offset == 0 and chunk.startswith(codecs.BOM_UTF8):
                offset, chunk = len(codecs.BOM_UTF8), chunk.removeprefix(codecs.BOM_UTF8)
            if (nul := chunk.find(0)) >= 0:
                raise ValueError(
                    f"{path} has a NUL byte at byte {offset + nul:,}: it is binary or not UTF-8, convert it to UTF-8"
                )
            pending = len(decoder.getstate()[0])
            try:
                text += decoder.decode(chunk)
            except UnicodeDecodeError as error:
                raise not_utf8(str(path), offset - pending + error.start) from None
            offset += len(chunk)
            if len(text) >= PIECE and (cut := CUT.match(text)):
                yield Piece(cut.group(), is_start, raw.tell())
                text, is_start = text[cut.end() :], False
            elif len(text) > LONGEST_WORD:
                raise ValueError(
                    f"{path} has {len(text):,} characters without a space or line break: break it into lines"
                )
        if decoder.getstate()[0]:
            raise not_utf8(str(path), offset - len(decoder.getstate()[0]))
        if text:
            yield Piece(text, is_start, raw.tell())


def json_lines(path: Path, field: str) -> Iterator[Piece]:
    with path.open("rb") as raw:
        stream = decompressed(raw, path)
        number = 0
        while line := stream.readline(LONGEST_LINE + 1):
            number += 1
            if number == 1:
                line = line.removeprefix(codecs.BOM_UTF8)
            where = f"{path} line {number:,}"
            if len(line) > LONGEST_LINE:
                raise ValueError(f"{where} is longer than {LONGEST_LINE:,} bytes: split the record")
            if line.isspace():
                continue
            try:
                record = json.loads(line.decode())
            except UnicodeDecodeError as error:
                raise not_utf8(where, error.start) from None
            except (ValueError, RecursionError) as error:
                raise ValueError(f"{where} is not JSON ({error}): every line must be one JSON object") from None
            if not isinstance(record, dict):
                raise ValueError(f"{where} is no JSON object but {type(record).__name__}: every line must be one")
            yield Piece(text_of(record, field, where), True, raw.tell())


def parquet_rows(path: Path, field: str) -> Iterator[Piece]:
    arrow = import_pyarrow(path)
    import pyarrow.parquet

    try:
        with pyarrow.parquet.ParquetFile(path) as file:
            if field not in file.schema_arrow.names:
                raise missing(field, file.schema_arrow.names, str(path))
            size, num_rows, row = path.stat().st_size, file.metadata.num_rows, 0
            for batch in file.iter_batches(batch_size=256, columns=[field]):
                for text in batch.column(0).to_pylist():
                    row += 1
                    yield Piece(text_of({field: text}, field, f"{path} row {row:,}"), True, size * row // num_rows)
    except arrow.ArrowException as error:
        raise ValueError(f"{path} is no Parquet file, or a damaged one ({error}): fetch or write it again") from None


READERS: dict[str, Callable[[Path, str], Iterator[Piece]]] = {
    ".txt": text_pieces,
    ".jsonl": json_lines,
    ".parquet": parquet_rows,
}


def text_of(record: dict[str, Any], field: str, where: str) -> str:
    """The text of a record, which must be a string without lone surrogates."""
    if field not in record:
        raise missing(field, record, where)
    text = record[field]
    if text is None:
        raise ValueError(f"{where}: field {field!r} is null: remove the record, or {ANOTHER}")
    if not isinstance(text, str):
        raise ValueError(f"{where}: field {field!r} is no string but {type(text).__name__}: {ANOTHER}")
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise ValueError(
            f"{where}: character {error.start:,} is a lone surrogate, which is not Unicode text: remove it"
        ) from None
    return text


def missing(field: str, names: Iterable[str], where: str) -> ValueError:
    return ValueError(f"{where} has no field {field!r}, only {', '.join(names) or 'none'}: {ANOTHER}")


def not_utf8(where: str, offset: int) -> ValueError:
    return ValueError(f"{where} is not UTF-8 at byte {offset:,}: convert it, for example with iconv -t utf-8")


def decompressed(raw: BinaryIO, path: Path) -> Any:
    """The content of an open file as a binary stream."""
    if path.suffix == ".gz":
        return gzip.open(raw)
    if path.suffix == ".xz":
        return lzma.open(raw)
    if path.suffix == ".zst":
        return io.BufferedReader(import_pyarrow(path).CompressedInputStream(raw, "zstd"))
    return raw


def import_pyarrow(path: Path) -> Any:
    try:
        import pyarrow
    except ImportError:
        raise ValueError(f"{path} needs pyarrow to be read: pip install 'glassgpt[data]'") from None
    return pyarrow
