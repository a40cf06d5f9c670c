"""The tokens of many files as one sequence, and the writing of a directory of them. Knows nothing of text or order."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Iterable, Mapping, Sequence
from itertools import accumulate
from pathlib import Path

import numpy as np

from glassgpt.data.manifest import MANIFEST, Manifest, Shard, Split
from glassgpt.data.token_file import HEADER_BYTES, TokenFile, TokenWriter, dtype_name, file_sha256, locate, write_file

CHUNK = 2**22  # tokens looked at together


class Shards:
    """The tokens of several files as one sequence of ``num_tokens``.

    ``manifest`` is None for files that came without one. Tokens are read with pread and not through a memory map: a
    file that has become shorter is then an error and not the death of the process (SIGBUS). The map is a third faster,
    which no training notices (benchmarks/batches.py). No file stays open, so threads and processes may share this.
    """

    def __init__(self, files: Sequence[TokenFile], manifest: Manifest | None = None):
        if len(dtypes := {file.dtype.name for file in files}) > 1:
            raise ValueError(f"{files[0].path.parent} mixes {' and '.join(sorted(dtypes))} tokens: prepare it again")
        self.files = files
        self.manifest = manifest
        self.dtype = files[0].dtype
        self.ends = list(accumulate(file.num_tokens for file in files))
        self.num_tokens = self.ends[-1]

    @classmethod
    def open(cls, source: str | Path, split: Split = "train") -> Shards:
        """The tokens of a prepared directory, of a directory with ``*train*.bin`` files, or of one ``.bin`` file.

        Every header and length is checked, and no content: that is what ``verify`` is for.

        Raises:
            FileNotFoundError: there are no such files.
            ValueError: a file is not what its header or the manifest says.
        """
        source = Path(source)
        if not (source / MANIFEST).exists():
            paths = [source] if source.is_file() else sorted(source.glob(f"*{split}*.bin"))
            if not paths:
                raise FileNotFoundError(f"{source} has no {MANIFEST} and no *{split}*.bin: run glassgpt prepare first")
            return cls([locate(path) for path in paths])
        manifest = Manifest.read(source / MANIFEST)
        shards = manifest.splits.get(split, [])
        if not shards:
            there = ", ".join(manifest.splits) or "nothing"
            raise ValueError(
                f"{source} holds no {split} tokens, only {there}: prepare it again from more text, or with a larger "
                "share of validation"
            )
        files = [locate(source / shard.name) for shard in shards]
        for file, shard in zip(files, shards, strict=True):
            if (file.num_tokens, file.dtype, file.offset) != (shard.tokens, np.dtype(manifest.dtype), HEADER_BYTES):
                raise ValueError(
                    f"{file.path} holds {file.num_tokens:,} {file.dtype.name} tokens, {MANIFEST} says "
                    f"{shard.tokens:,} {manifest.dtype}: prepare the data again"
                )
        return cls(files, manifest)

    @property
    def vocab_size(self) -> int:
        """The size of the vocabulary: the manifest's, or one more than the largest id that any file holds."""
        if self.manifest:
            return self.manifest.vocab_size
        return max(int(self.read(start, CHUNK).max()) for start in range(0, self.num_tokens, CHUNK)) + 1

    def read(self, start: int, count: int) -> np.ndarray:
        """The tokens from ``start`` on, at most ``count`` of them and fewer at the end."""
        out = np.empty(max(0, min(count, self.num_tokens - start)), self.dtype)
        self.read_into(out, start)
        return out

    def read_into(self, out: np.ndarray, start: int) -> None:
        """Fills ``out``, contiguous and of this ``dtype``, with the tokens from ``start`` on.

        Raises:
            ValueError: a file has become shorter since it was opened.
        """
        assert 0 <= start <= self.num_tokens - len(out)
        while len(out):
            index = bisect_right(self.ends, start)
            end, file = self.ends[index], self.files[index]
            count = min(len(out), end - start)
            file.read_into(out[:count], first=start - (end - file.num_tokens))
            start, out = start + count, out[count:]

    def verify(self, report: Callable[[int], object] = lambda num_bytes: None) -> None:
        """Reads every byte and compares it with the manifest; ``report`` is told the size of each file that is right.

        Raises:
            ValueError: a file is not the one the manifest describes, or there is no manifest.
        """
        if self.manifest is None:
            raise ValueError(f"{self.files[0].path.parent} has no {MANIFEST} to compare with: prepare the data again")
        expected = {shard.name: shard.sha256 for shards in self.manifest.splits.values() for shard in shards}
        for file in self.files:
            if (found := file_sha256(file.path)) != expected[file.path.name]:
                raise ValueError(
                    f"{file.path} has SHA-256 {found}, {MANIFEST} says {expected[file.path.name]}: "
                    "the file was changed or damaged, prepare the data again"
                )
            report(file.path.stat().st_size)


def write(
    directory: Path, splits: Mapping[Split, Iterable[Sequence[int]]], vocab_size: int, eot: int, tokenizer_sha256: str
) -> Manifest:
    """Writes documents of token ids as one shard a split, an ``eot`` before each document, and the manifest."""
    directory.mkdir(parents=True, exist_ok=True)
    shards: dict[Split, list[Shard]] = {}
    for split, documents in splits.items():
        path = directory / f"tokens_{split}_000000.bin"
        writer, num_documents = TokenWriter(path, vocab_size), 0
        for ids in documents:
            writer.add(np.array([eot, *ids]))
            num_documents += 1
        sha256 = writer.close()
        shards[split] = [Shard(name=path.name, tokens=writer.num_tokens, documents=num_documents, sha256=sha256)]
    manifest = Manifest(
        dtype=dtype_name(vocab_size), vocab_size=vocab_size, eot=eot, tokenizer_sha256=tokenizer_sha256, splits=shards
    )
    write_file(directory / MANIFEST, manifest.encode())
    return manifest
