"""What texts suggest about a run that nobody configured."""

from __future__ import annotations

import re
import unicodedata
from pathlib import Path
from typing import Any


def for_texts(paths: list[Path]) -> dict[str, Any]:
    """What the texts themselves suggest: a name, and a vocabulary of one token for each 1,000 bytes or so."""
    if not paths:
        return {}
    from glassgpt.data.documents import find
    from glassgpt.training.start import is_tokenized

    found = {"name": name_of(paths[0]), "data.sources": [str(path) for path in paths]}
    if is_tokenized(paths[0]):
        return found
    num_bytes = sum(path.stat().st_size for path in find(paths))
    return found | {"data.vocab_size": 2 ** min(14, max(9, (num_bytes // 1000).bit_length() - 1))}


def name_of(text: Path) -> str:
    """The name of a run on a text: the text's up to its first dot, in plain letters."""
    stem = text.absolute().name.split(".")[0]
    letters = unicodedata.normalize("NFKD", stem).encode("ascii", "ignore").decode()
    return re.sub(r"[^A-Za-z0-9_-]+", "-", letters).strip("-_") or "run"
