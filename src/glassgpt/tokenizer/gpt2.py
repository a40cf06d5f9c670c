"""GPT-2's tokenizer, from the vocabulary that comes with this package."""

from __future__ import annotations

from functools import cache
from hashlib import file_digest
from pathlib import Path

from glassgpt.tokenizer.tokenizer import Tokenizer
from glassgpt.tokenizer.vocabulary import load_ranks

VOCABULARY = Path(__file__).with_name("gpt2.tiktoken")
# sha256 of the tokenizer.json that this package writes for it, with its size: read and checked it costs a second.
WRITTEN = "809a071bec32935bbe00f62b1920674226cb4e19f2e8ed02d0950997426cab14"
WRITTEN_BYTES = 3_557_684


@cache
def gpt2() -> Tokenizer:
    """The 50,257 tokens of GPT-2 and GPT-3: 256 bytes, 50,000 merges and ``<|endoftext|>``."""
    return Tokenizer(load_ranks(VOCABULARY.read_bytes()))


def is_gpt2(directory: Path) -> bool:
    """Whether a model directory holds GPT-2's tokenizer, to the byte as this package writes it."""
    path = directory / "tokenizer.json"
    if not path.is_file() or path.stat().st_size != WRITTEN_BYTES:
        return False
    with path.open("rb") as file:
        return file_digest(file, "sha256").hexdigest() == WRITTEN
