"""Rows that start at a document, and the documents inside rows. Knows nothing of batches or models.

Plain windows cut the tokens every T, so most begin in the middle of a document, whose beginning the model cannot see.

B batch, T tokens
"""

from __future__ import annotations

from bisect import bisect_left

import numpy as np
from torch import Tensor

from glassgpt.data.shards import CHUNK, Shards


def row_starts(shards: Shards, context_length: int, eot: int) -> np.ndarray:
    """Where rows of T + 1 tokens begin so that each starts at a document, for ``Batches(..., starts=...)``.

    A document longer than a row goes on in rows of its own as long as it fills them. The rest of the document that a
    row ends in is left out: the price of the start, about a third of short web pages and little of books.

    Raises:
        ValueError: no row fits.
    """
    documents = document_starts(shards, eot)
    ends = [*documents[1:], shards.num_tokens]
    starts: list[int] = []
    at, document = (documents[0] if documents else shards.num_tokens), 0
    while at + context_length < shards.num_tokens:
        starts.append(at)
        at += context_length
        document = bisect_left(ends, at + 1, lo=document)  # the document that holds token ``at``
        if at != documents[document] and ends[document] - at <= context_length:
            at = ends[document]
    if not starts:
        raise ValueError(
            f"no row of {context_length + 1:,} tokens starts at a document: give more text or a shorter context_length"
        )
    return np.array(starts)


def document_starts(shards: Shards, eot: int) -> list[int]:
    """The places of all ``eot``, which stands before every document."""
    found = (np.flatnonzero(shards.read(start, CHUNK) == eot) + start for start in range(0, shards.num_tokens, CHUNK))
    return np.concatenate([*found, np.empty(0, np.int64)]).tolist()


def document_ids(tokens: Tensor, eot: int) -> Tensor:
    """The number of the document in its row that each token of ``tokens`` (B, T) belongs to, (B, T).

    Attention stays inside documents where ``ids[:, :, None] == ids[:, None, :]``, besides being causal.
    """
    return (tokens == eot).cumsum(dim=1)
