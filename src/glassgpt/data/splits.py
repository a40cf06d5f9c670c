"""Which documents are for training and which for validation. Knows nothing of tokens."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator
from pathlib import Path

from glassgpt.data.documents import pieces, suffix
from glassgpt.data.formats import Piece
from glassgpt.data.manifest import Count, Facts, Split

HASHED = 2**16  # characters
ALL = 2**64


class Rule(Facts):
    """How to tell validation from training.

    By document: those whose hash is below ``threshold``, so that a document, and any copy of it, is always on one and
    the same side. By position, for a text that is one document: everything from the line at character ``cut`` on.
    """

    threshold: Count = 0
    cut: Count | None = None

    def assign(self, found: Iterable[Piece]) -> Iterator[tuple[Split, Piece]]:
        """The pieces with the split each belongs to."""
        return by_document(found, self.threshold) if self.cut is None else by_position(found, self.cut)


def first_rule(paths: list[Path], field: str, fraction: float) -> Rule:
    """By position for one plain text, else by document; ``fraction`` is the share of validation.

    Raises:
        ValueError: a fraction of 1 or more leaves nothing to train on.
    """
    if not 0 <= fraction < 1:
        raise ValueError(
            f"a validation share of {fraction} is impossible: give a number from 0 up to, not including, 1"
        )
    if fraction and len(paths) == 1 and suffix(paths[0]) == ".txt":
        return cut_rule(paths, field, fraction)
    return Rule(threshold=int(fraction * ALL))


def second_rule(paths: list[Path], field: str, fraction: float) -> Rule:
    """For when no document fell to validation: the one with the smallest hash does; a single document is cut."""
    hashes = [document_hash(piece.text) for path in paths for piece in pieces(path, field) if piece.is_start]
    return Rule(threshold=min(hashes) + 1) if len(hashes) > 1 else cut_rule(paths, field, fraction)


def cut_rule(paths: list[Path], field: str, fraction: float) -> Rule:
    num_characters = sum(len(piece.text) for path in paths for piece in pieces(path, field))
    return Rule(cut=int(num_characters * (1 - fraction)))


def by_document(found: Iterable[Piece], threshold: int) -> Iterator[tuple[Split, Piece]]:
    split: Split = "train"
    for piece in found:
        if piece.is_start:
            split = "val" if document_hash(piece.text) < threshold else "train"
        yield split, piece


def by_position(found: Iterable[Piece], cut: int) -> Iterator[tuple[Split, Piece]]:
    """Cuts after the line that ``cut`` falls into, or right at ``cut`` where that would leave nothing of the piece."""
    start = 0
    split: Split = "train"
    for piece in found:
        if split == "train" and start + len(piece.text) > cut:
            at = piece.text.find("\n", cut - start) + 1
            if at in (0, len(piece.text)):
                at = cut - start
            yield "train", piece._replace(text=piece.text[:at])
            split, piece = "val", piece._replace(text=piece.text[at:], is_start=True)
        start += len(piece.text)
        yield split, piece


def document_hash(text: str) -> int:
    """64 bits of the SHA-256 of a document's first 65,536 characters."""
    return int.from_bytes(hashlib.sha256(text[:HASHED].encode()).digest()[:8])
