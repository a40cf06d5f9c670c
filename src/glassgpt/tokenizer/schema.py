"""The parts of a ``tokenizer.json`` that decide which ids a text gets, as far as they may differ from file to file."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, BeforeValidator

from glassgpt.tokenizer.vocabulary import ENDOFTEXT

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


def end_of_text(content: str) -> str:
    """The only token here that no merge makes."""
    if content != ENDOFTEXT:
        raise ValueError(
            f"the special token {content!r:.100} is one too many, {ENDOFTEXT} the only one here: "
            "take it out of the file if no text needs it"
        )
    return content


class AddedToken(BaseModel):
    """A token that no merge makes."""

    id: int
    content: Annotated[str, AfterValidator(end_of_text)]


class TokenizerFile(BaseModel):
    """All of it that counts."""

    normalizer: None = None
    pre_tokenizer: ByteLevel
    model: BytePairs
    added_tokens: list[AddedToken]
