"""Decoding while tokens arrive. Knows tokens only as bytes."""

from __future__ import annotations

import codecs
from collections.abc import Callable


class TextStream:
    """Turns ids into text one at a time and holds bytes back until they are whole characters.

    All that ``push`` and ``finish`` return, joined, is what ``Tokenizer.decode`` makes of the same ids.
    """

    def __init__(self, token_bytes: Callable[[int], bytes]):
        self._token_bytes = token_bytes
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")

    def push(self, id: int) -> str:
        """The text that is certain once this token is known; often empty inside a character."""
        return self._decoder.decode(self._token_bytes(id))

    def finish(self) -> str:
        """What was held back: U+FFFD for a character that never became whole, else nothing."""
        return self._decoder.decode(b"", final=True)
