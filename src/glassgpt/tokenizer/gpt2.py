"""GPT-2's tokenizer, from the vocabulary that comes with this package."""

from __future__ import annotations

from functools import cache
from pathlib import Path

from glassgpt.tokenizer.tokenizer import Tokenizer
from glassgpt.tokenizer.vocabulary import load_ranks

VOCABULARY = Path(__file__).with_name("gpt2.tiktoken")


@cache
def gpt2() -> Tokenizer:
    """The 50,257 tokens of GPT-2 and GPT-3: 256 bytes, 50,000 merges and ``<|endoftext|>``."""
    return Tokenizer(load_ranks(VOCABULARY.read_bytes()))
