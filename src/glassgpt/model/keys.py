"""Randomness by name: a key made of what a draw is for, never the state a global generator happens to be in."""

from __future__ import annotations

import hashlib


def key(*parts: object) -> int:
    """A 63-bit seed from SHA-256 of "glassgpt|part|part|...", numbers in decimal."""
    digest = hashlib.sha256("|".join(["glassgpt", *map(str, parts)]).encode()).digest()
    return int.from_bytes(digest[:8], "little") & (2**63 - 1)
