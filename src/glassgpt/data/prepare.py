"""Documents to token shards, from all cores to the disk, and able to go on after a kill. Knows nothing of terminals.

The work is cut into blocks of about one shard. What is finished stands in ``progress.json``; a run that was killed goes
on after the last finished block, and ends with the very files of a run that was not.
"""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

from glassgpt.data.documents import find, pieces
from glassgpt.data.job import Job, Report, require_same
from glassgpt.data.manifest import MANIFEST, PROGRESS, Manifest, Request, Source
from glassgpt.data.splits import first_rule, second_rule
from glassgpt.data.token_file import file_sha256
from glassgpt.tokenizer.tokenizer import Tokenizer

SHARD_TOKENS = 100_000_000


class Busy(ValueError):
    """Another process is at work there."""


def prepare(
    sources: Iterable[str | Path],
    out: str | Path,
    vocabulary: Tokenizer | int,
    field: str = "text",
    val_fraction: float = 0.01,
    workers: int | None = None,
    shard_tokens: int = SHARD_TOKENS,
    report: Report = lambda done, total, text: None,
) -> Manifest:
    """Writes the documents of ``sources`` to the directory ``out`` as token shards and returns their manifest.

    ``vocabulary`` is a tokenizer, or the size of one to learn from the training documents; ``Tokenizer.load(out)``
    finds it afterwards. ``report`` is told how many bytes of the sources are done, how many there are, and how many
    bytes of text this call has encoded. A finished ``out`` that was made of the same is left as it is.

    Raises:
        FileNotFoundError: there is no such source.
        FileExistsError: ``out`` is a file.
        ValueError: a source is not what its name says, ``out`` holds something else, or nothing is left to train on.
        Busy: another process prepares ``out``.
    """
    out, paths = Path(out), find(sources)
    if out.exists() and not out.is_dir():
        raise FileExistsError(f"{out} is a file: name a directory")
    for path in paths:
        next(pieces(path, field))  # what cannot be read at all is said now, not after hours with the files before it
    request = Request(
        sources=[Source(name=path.name, bytes=path.stat().st_size, sha256=file_sha256(path)) for path in paths],
        field=field,
        val_fraction=val_fraction,
        vocabulary=vocabulary if isinstance(vocabulary, int) else vocabulary.sha256,
        shard_tokens=shard_tokens,
    )
    out.mkdir(parents=True, exist_ok=True)
    with locked(out):
        if (out / MANIFEST).exists():
            manifest = Manifest.read(out / MANIFEST)
            require_same(manifest.request, request, out)
            return manifest
        job = Job(out, paths, request, vocabulary, workers or os.cpu_count() or 1, report)
        if (out / PROGRESS).exists():
            job.resume()
        else:
            job.begin(first_rule(paths, field, val_fraction))
        job.write()
        if val_fraction and not job.progress.splits["val"]:
            job.begin(second_rule(paths, field, val_fraction))
            job.write()
        return job.finish()


@contextmanager
def locked(directory: Path) -> Iterator[None]:
    """Keeps other preparations out of a directory; the kernel lets go when the process ends, however it ends."""
    with (directory / ".lock").open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise Busy(f"another process is preparing {directory}: wait for it or name another directory") from None
        yield
