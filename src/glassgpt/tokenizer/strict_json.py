"""JSON from elsewhere, read only where it has one meaning and costs little: bounded, without duplicates, no NaN."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, NoReturn

MAX_BYTES = 16 * 2**20
MAX_BRACKETS = 2**21  # each list or object takes some ninety bytes; a tokenizer.json has one for every merge


def read_json(path: Path, max_bytes: int = MAX_BYTES) -> Any:
    """The value in a JSON file.

    Raises:
        ValueError: the file is too long, nested too deep, not UTF-8 or no JSON, or says something twice; names it.
    """
    if (size := path.stat().st_size) > max_bytes:
        raise ValueError(f"{path} has {size:,} bytes, expected JSON of at most {max_bytes:,}")
    try:
        return parse_json(path.read_bytes())
    except ValueError as error:
        raise ValueError(f"{path} is not JSON as expected here: {error}") from None


def parse_json(content: bytes) -> Any:
    """The value that ``content`` holds; ValueError with the reason where it is refused."""
    if (count := content.count(b"[") + content.count(b"{")) > MAX_BRACKETS:
        raise ValueError(f"it has {count:,} opening brackets, expected at most {MAX_BRACKETS:,}")
    try:
        return json.loads(content.decode("utf-8"), object_pairs_hook=_unique, parse_constant=_no_constant)
    except RecursionError:
        raise ValueError("it is nested too deep") from None


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    fields: dict[str, Any] = {}
    for name, value in pairs:
        if name in fields:
            raise ValueError(f"it has the key {name[:100]!r} twice")
        fields[name] = value
    return fields


def _no_constant(name: str) -> NoReturn:
    raise ValueError(f"it has {name}, which is no number in JSON")
