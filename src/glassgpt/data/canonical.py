"""JSON with exactly one way to write each value, sealed with its own hash: a flipped bit anywhere in it is refused."""

from __future__ import annotations

import hashlib
import json
from typing import Any


def seal(fields: dict[str, Any]) -> bytes:
    """``fields`` as canonical JSON with their ``digest`` among them."""
    return canonical({**fields, "digest": digest(fields)})


def unseal(content: bytes, name: str) -> dict[str, Any]:
    """The fields that were sealed, without the digest. ``name`` is the file, for the message.

    Raises:
        ValueError: not canonical JSON (which duplicate keys are not either), or a wrong digest.
    """
    try:
        fields = json.loads(content)
        is_canonical = isinstance(fields, dict) and canonical(fields) == content
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{name} is not JSON: {error}") from None
    if not is_canonical or fields.pop("digest", None) != digest(fields):
        raise ValueError(f"{name} is not what was written: it was changed or damaged, make it again")
    return fields


def digest(fields: dict[str, Any]) -> str:
    """SHA-256 of the canonical JSON."""
    return hashlib.sha256(canonical(fields)).hexdigest()


def canonical(value: Any) -> bytes:
    """Sorted keys, no spaces, ASCII, no NaN, one final line feed."""
    text = json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=True, allow_nan=False)
    return text.encode("ascii") + b"\n"
