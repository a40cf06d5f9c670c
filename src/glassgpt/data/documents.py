"""Documents out of files, and the files that are meant. Knows neither formats nor tokens."""

from __future__ import annotations

import lzma
import zlib
from collections.abc import Iterable, Iterator
from pathlib import Path

from glassgpt.data.formats import COMPRESSIONS, READERS, Piece
from glassgpt.data.manifest import MANIFEST, PROGRESS

SHAKESPEARE = Path(__file__).with_name("shakespeare.txt")


def read(source: str | Path, field: str = "text") -> Iterator[str]:
    """The documents of one file, each as a whole.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: the file is empty, is not what its name says, or a record has no text in ``field``.
    """
    parts: list[str] = []
    for piece in pieces(Path(source), field):
        if piece.is_start and parts:
            yield "".join(parts)
            parts = []
        parts.append(piece.text)
    yield "".join(parts)


def pieces(path: Path, field: str = "text") -> Iterator[Piece]:
    """The documents of one file, a long text in several pieces: tokens of the pieces are the tokens of the text.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: as ``read``.
    """
    if (reader := READERS.get(suffix(path))) is None:
        raise ValueError(f"{path}: a source ends in {accepted()}: rename or convert the file")
    if path.stat().st_size == 0:
        raise ValueError(f"{path} is empty: name a file that holds text")
    found = reader(path, field)
    try:
        first = next(found, None)
        if first is None:
            raise ValueError(f"{path} holds no documents: name a file that holds text")
        yield first
        yield from found
    except (EOFError, lzma.LZMAError, zlib.error, OSError) as error:
        if isinstance(error, OSError) and error.errno:
            raise
        raise ValueError(f"{path} is damaged or cut off ({error}): fetch it again") from None


def find(sources: Iterable[str | Path]) -> list[Path]:
    """The files that are meant: a file, those of a directory that hold text, or ``shakespeare``, the bundled text.

    Raises:
        FileNotFoundError: there is no such file or directory.
        ValueError: a directory holds no file that can be read.
    """
    found: list[Path] = []
    for source in map(Path, sources):
        if source.is_dir():
            files = [path for path in sorted(source.rglob("*")) if is_document(path, source)]
            if not files:
                raise ValueError(f"{source} holds no file that ends in {accepted()}")
            found += files
        elif source == Path("shakespeare") and not source.exists():
            found.append(SHAKESPEARE)
        elif not source.exists():
            raise FileNotFoundError(f"{source}: no such file or directory")
        else:
            found.append(source)
    return found


def is_document(path: Path, root: Path) -> bool:
    """Whether a file below ``root`` can be read, is not empty, and is no part of what ``prepare`` has written there."""
    is_output = path.parent != root and any((path.parent / name).exists() for name in (MANIFEST, PROGRESS))
    return path.is_file() and suffix(path) in READERS and path.stat().st_size > 0 and not is_output


def suffix(path: Path) -> str:
    """The ending that names the format, without that of a compression."""
    return (path.with_suffix("") if path.suffix in COMPRESSIONS else path).suffix


def accepted() -> str:
    return f"{', '.join(READERS)} (the first two also compressed: {', '.join(COMPRESSIONS)})"
