"""From pieces of documents to tokens on all cores, in the order of the documents. Knows nothing of files."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import NamedTuple

import numpy as np

from glassgpt.data.encoding import Encode
from glassgpt.data.formats import Piece
from glassgpt.data.manifest import Split

BATCH = 2**17  # characters encoded together

Labelled = tuple[Split, Piece]


class Encoded(NamedTuple):
    """The tokens of some consecutive pieces, and how many documents begin in them.

    ``num_bytes`` is the size of their text, ``position`` how many bytes of the sources had been read.
    """

    tokens: dict[Split, np.ndarray]
    num_documents: dict[Split, int]
    num_pieces: int
    num_bytes: int
    position: int


def encode_all(labelled: Iterable[Labelled], encode: Encode, eot: int, workers: int) -> Iterator[Encoded]:
    """Encodes on ``workers`` threads while the caller's reads on; ``eot`` goes before each document.

    Both encoders work outside the interpreter's lock, and little text is waiting at any time.
    """
    with ThreadPoolExecutor(workers, thread_name_prefix="encode") as pool:
        pending: deque[Future[Encoded]] = deque()
        for batch in batches(labelled):
            pending.append(pool.submit(encode_batch, batch, encode, eot))
            if len(pending) > 2 * workers:
                yield pending.popleft().result()
        while pending:
            yield pending.popleft().result()


def batches(labelled: Iterable[Labelled]) -> Iterator[list[Labelled]]:
    batch, size = [], 0
    for split, piece in labelled:
        batch.append((split, piece))
        size += len(piece.text)
        if size >= BATCH:
            yield batch
            batch, size = [], 0
    if batch:
        yield batch


def encode_batch(batch: list[Labelled], encode: Encode, eot: int) -> Encoded:
    parts: dict[Split, list[np.ndarray]] = {}
    num_documents: dict[Split, int] = {"train": 0, "val": 0}
    num_bytes = 0
    for split, piece in batch:
        part = parts.setdefault(split, [])
        if piece.is_start:
            part.append(np.array([eot], np.uint32))
            num_documents[split] += 1
        part.append(encode(piece.text))
        num_bytes += len(piece.text.encode())
    tokens = {split: np.concatenate(part) for split, part in parts.items()}
    return Encoded(tokens, num_documents, len(batch), num_bytes, batch[-1][1].position)
