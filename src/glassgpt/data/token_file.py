"""One file of tokens: llm.c's format, written and read, and nanoGPT's, read.

A header is 256 little-endian int32: magic, version, number of tokens, zeros. Magic 20240520 with version 1 announces
uint16, as in llm.c; vocabularies over 65,536 take the flavour llm.c made for Llama 3, magic 20240801 with version 7 and
uint32. nanoGPT's files are uint16 without a header. Knows nothing of text, documents or manifests.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Literal, NamedTuple

import numpy as np

HEADER_BYTES = 1024
UINT16, UINT32 = (20240520, 1), (20240801, 7)  # magic and version
DTYPES = {UINT16: np.dtype("<u2"), UINT32: np.dtype("<u4")}
MAX_TOKENS = 2**31 - 1  # the header's count is an int32


class TokenFile(NamedTuple):
    """Where the tokens of one file lie: ``num_tokens`` of ``dtype`` from byte ``offset`` on."""

    path: Path
    offset: int
    dtype: np.dtype
    num_tokens: int

    def read_into(self, out: np.ndarray, first: int) -> None:
        """Fills ``out``, contiguous and of this ``dtype``, with the tokens from number ``first`` on.

        Raises:
            ValueError: the file has become shorter since it was looked at.
        """
        fd = os.open(self.path, os.O_RDONLY)
        try:
            at, rest = self.offset + first * self.dtype.itemsize, out.data.cast("B")
            while rest:
                count = os.preadv(fd, [rest], at)
                if count == 0:
                    raise ValueError(
                        f"{self.path} ends at byte {os.fstat(fd).st_size:,}, inside its {self.num_tokens:,} tokens: "
                        "it was cut off while in use, prepare the data again"
                    )
                at, rest = at + count, rest[count:]
        finally:
            os.close(fd)


def locate(path: Path) -> TokenFile:
    """What the header and the length of a file say about its tokens.

    Raises:
        ValueError: the length disagrees with the header, or the header is of an unknown version.
    """
    size = path.stat().st_size
    with path.open("rb") as file:
        header = np.frombuffer(file.read(HEADER_BYTES), "<i4", count=min(3, size // 4))
    magic = int(header[0]) if len(header) else 0
    if magic not in (UINT16[0], UINT32[0]):  # nanoGPT: these two bytes would be token 55,432, beyond GPT-2's
        if size == 0 or size % 2:
            raise ValueError(f"{path} has {size:,} bytes, which is no list of uint16 tokens: name a file of tokens")
        return TokenFile(path, 0, DTYPES[UINT16], size // 2)
    if len(header) < 3 or (dtype := DTYPES.get((magic, int(header[1])))) is None:
        raise ValueError(f"{path} has the magic of a token file and an unknown version: it was damaged, or is newer")
    num_tokens = int(header[2])
    if size != HEADER_BYTES + num_tokens * dtype.itemsize:
        raise ValueError(
            f"{path} has {size:,} bytes, its header announces {num_tokens:,} {dtype.name} tokens, that is "
            f"{HEADER_BYTES + num_tokens * dtype.itemsize:,} bytes: it was cut off or damaged, prepare the data again"
        )
    return TokenFile(path, HEADER_BYTES, dtype, num_tokens)


class TokenWriter:
    """A file being written: ``add`` tokens, then ``close``. Only a complete file ever has the final name."""

    def __init__(self, path: Path, vocab_size: int):
        self.path = path
        self.vocab_size = vocab_size
        self.num_tokens = 0
        self.dtype = np.dtype(dtype_name(vocab_size)).newbyteorder("<")
        self.partial = path.with_suffix(".partial")
        self.partial.write_bytes(bytes(HEADER_BYTES))

    def add(self, ids: np.ndarray) -> None:
        """Appends token ids of any integer type.

        Raises:
            ValueError: an id is not in the vocabulary, or the file would hold more tokens than its header can count.
            OSError: the disk is full.
        """
        if len(ids) == 0:
            return
        if not 0 <= ids.min() <= ids.max() < self.vocab_size:
            wrong = ids.min() if ids.min() < 0 else ids.max()
            raise ValueError(f"token id {wrong} is not in the vocabulary of {self.vocab_size:,}: use its tokenizer")
        if self.num_tokens + len(ids) > MAX_TOKENS:
            raise ValueError(f"{self.path} would hold over {MAX_TOKENS:,} tokens: write smaller shards")
        with named(self.partial), self.partial.open("ab") as file:
            file.write(ids.astype(self.dtype).data)
        self.num_tokens += len(ids)

    def close(self) -> str:
        """Completes the header, makes the file durable under its name, and returns its SHA-256."""
        magic, version = next(flavour for flavour, dtype in DTYPES.items() if dtype == self.dtype)
        with named(self.partial), self.partial.open("r+b") as file:
            file.write(np.array([magic, version, self.num_tokens], "<i4").data)
            file.flush()
            os.fsync(file.fileno())
        sha256 = file_sha256(self.partial)
        self.partial.replace(self.path)
        sync_directory(self.path.parent)
        return sha256


def dtype_name(vocab_size: int) -> Literal["uint16", "uint32"]:
    """The narrowest type that holds every id of a vocabulary."""
    return "uint16" if vocab_size <= 2**16 else "uint32"


def write_file(path: Path, content: bytes) -> None:
    """Replaces a small file as a whole, durably: after a kill or a power cut it is the old one or the new one."""
    partial = path.with_name(path.name + ".partial")
    with named(partial), partial.open("wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    partial.replace(path)
    sync_directory(path.parent)


@contextmanager
def named(path: Path) -> Iterator[None]:
    """Gives the errors of a file that is open its path: they do not say themselves where there is no room left."""
    try:
        yield
    except OSError as error:
        raise OSError(error.errno, error.strerror, str(path)) from None


def sync_directory(directory: Path) -> None:
    fd = os.open(directory, os.O_RDONLY)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


def file_sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
