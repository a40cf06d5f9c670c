"""The parts of a ``tokenizer.json`` that decide which ids a text gets, as far as they may differ from file to file."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator

Vocabulary = dict[str, int]


def pair(merge: Any) -> Any:
    """A merge as two spellings; files older than 2024 join them by a space."""
    return merge.split(" ") if isinstance(merge, str) else merge


Merge = Annotated[tuple[str, str], BeforeValidator(pair)]


class ByteLevel(BaseModel):
    """How text is cut into words: as GPT-2 does it."""

    type: Literal["ByteLevel"]
    add_prefix_space: Literal[False]
    use_regex: Literal[True] = True


class BytePairs(BaseModel):
    """The vocabulary and its merges."""

    type: Literal["BPE"] = "BPE"
    dropout: None = None
    continuing_subword_prefix: Literal["", None] = None
    end_of_word_suffix: Literal["", None] = None
    vocab: Vocabulary
    merges: list[Merge]


class AddedToken(BaseModel):
    """A token that no merge makes."""

    id: int
    content: Literal["<|endoftext|>"]


class TokenizerFile(BaseModel):
    """All of it that counts."""

    normalizer: None = None
    pre_tokenizer: ByteLevel
    model: BytePairs
    added_tokens: list[AddedToken]
