"""Text to token ids and back: one class for GPT-2's vocabulary and for vocabularies trained here.

A tokenizer is its list of tokens in id order: 256 bytes, then what each merge makes, then ``<|endoftext|>``. The order
of ids is thus the order of merges, which is all that tiktoken needs to encode. Knows nothing of models.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import cached_property
from hashlib import sha256
from pathlib import Path

import tiktoken

from glassgpt.tokenizer.stream import TextStream
from glassgpt.tokenizer.vocabulary import ENDOFTEXT, PATTERN, dump_ranks


class Tokenizer:
    """A byte-level BPE. ``tokens`` are the bytes of every token but the last, ``<|endoftext|>``, in id order."""

    def __init__(self, tokens: Sequence[bytes]):
        self.tokens = tuple(tokens)
        self.eot = len(tokens)
        self.vocab_size = len(tokens) + 1

    @classmethod
    def load(cls, directory: str | Path) -> Tokenizer:
        """The tokenizer of a model directory, from ``tokenizer.json`` or else ``vocab.json`` and ``merges.txt``.

        Raises:
            FileNotFoundError: the directory has neither.
            ValueError: the file is damaged, or describes something else than a byte-level BPE laid out as here.
        """
        from glassgpt.tokenizer.gpt2 import gpt2, is_gpt2

        if is_gpt2(Path(directory)):
            return gpt2()
        from glassgpt.tokenizer import files  # here and below: encoding needs none of what it imports

        return cls(files.read(Path(directory)))

    def encode(self, text: str, special: bool = False) -> list[int]:
        """The ids of a text. ``<|endoftext|>`` in it is ordinary text, unless ``special`` makes it the one token.

        Raises:
            ValueError: the text holds a lone surrogate.
        """
        if special:
            return self._encoding.encode(checked(text), allowed_special={ENDOFTEXT})
        return self._encoding.encode_ordinary(checked(text))

    def encode_batch(self, texts: Sequence[str]) -> list[list[int]]:
        """``encode`` of many texts, on all cores."""
        num_threads = os.cpu_count() or 1
        size = len(texts) // (4 * num_threads) + 1  # a thread for every short text would cost more than its encoding
        parts = [texts[i : i + size] for i in range(0, len(texts), size)]
        with ThreadPoolExecutor(num_threads) as threads:  # tiktoken encodes without the interpreter's lock
            encoded = threads.map(lambda part: [self.encode(text) for text in part], parts)
            return [ids for part in encoded for ids in part]

    def decode(self, ids: Iterable[int]) -> str:
        """The text of some ids; bytes that are not UTF-8, such as half a character, become U+FFFD.

        Raises:
            ValueError: an id is not in the vocabulary.
        """
        return b"".join(map(self.token_bytes, ids)).decode("utf-8", "replace")

    def token_bytes(self, id: int) -> bytes:
        """The bytes of one token; a token may begin or end inside a character.

        Raises:
            ValueError: the id is not in the vocabulary.
        """
        if not 0 <= id < self.vocab_size:
            raise ValueError(f"token id {id} is not in the vocabulary of {self.vocab_size} (0 to {self.eot})")
        return ENDOFTEXT.encode() if id == self.eot else self.tokens[id]

    def stream(self) -> TextStream:
        """A decoder for ids that arrive one at a time."""
        return TextStream(self.token_bytes)

    def files(self, context_length: int | None = None) -> dict[str, bytes]:
        """The files a Hugging Face model directory needs, by name. ``context_length`` is the model's, if it has one."""
        from glassgpt.tokenizer import files

        return files.write(self.tokens, context_length)

    @cached_property
    def sha256(self) -> str:
        """The identity of the vocabulary: the hash of its tokens as a tiktoken file, for GPT-2 the published one."""
        return sha256(dump_ranks(self.tokens)).hexdigest()

    @cached_property
    def _encoding(self) -> tiktoken.Encoding:
        return tiktoken.Encoding(
            name=f"glassgpt-{self.vocab_size}",
            pat_str=PATTERN,
            mergeable_ranks={token: id for id, token in enumerate(self.tokens)},
            special_tokens={ENDOFTEXT: self.eot},
            explicit_n_vocab=self.vocab_size,
        )


def checked(text: str) -> str:
    """The text itself, or ValueError for a lone surrogate, which tiktoken would quietly replace."""
    try:
        text.encode()
        return text
    except UnicodeEncodeError as error:
        raise ValueError(
            f"character {error.start} of the text is the lone surrogate {text[error.start]!r}, which is not Unicode "
            "text: read the text with errors='replace' or remove it"
        ) from None
