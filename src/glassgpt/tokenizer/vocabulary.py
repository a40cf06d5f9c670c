"""A byte-level BPE vocabulary as plain data: tokens in id order, their merges, and their spelling in files.

Tokens here are bytes, without ``<|endoftext|>``; the first 256 are the single bytes in GPT-2's order.
"""

from __future__ import annotations

from base64 import b64encode
from binascii import a2b_base64
from collections.abc import Sequence
from itertools import pairwise

ENDOFTEXT = "<|endoftext|>"
LONGEST = 256  # bytes of a token; GPT-2's longest have 128

# How GPT-2 cuts text into words before merging, as tiktoken writes it: possessive, so that it never backtracks.
PATTERN = r"""'(?:[sdmt]|ll|ve|re)| ?\p{L}++| ?\p{N}++| ?[^\s\p{L}\p{N}]++|\s++$|\s+(?!\S)|\s"""

# GPT-2's files spell a byte as itself where it is a visible Latin-1 character, else as one from U+0100 on
# (space is Ġ). https://github.com/openai/gpt-2/blob/master/src/encoder.py
VISIBLE = [*range(33, 127), *range(161, 173), *range(174, 256)]
HIDDEN = [byte for byte in range(256) if byte not in VISIBLE]
BYTES = [bytes([byte]) for byte in VISIBLE + HIDDEN]
TO_SPELLING = {byte: 256 + i for i, byte in enumerate(HIDDEN)}
FROM_SPELLING = {character: byte for byte, character in TO_SPELLING.items()}


def spell(token: bytes) -> str:
    """The token as files write it."""
    return token.decode("latin-1").translate(TO_SPELLING)


def unspell(spelling: str) -> bytes:
    """The bytes of a token as files write it; UnicodeEncodeError where a character spells no byte."""
    return spelling.translate(FROM_SPELLING).encode("latin-1")


def merges(tokens: Sequence[bytes]) -> list[tuple[bytes, bytes]]:
    """The merge that makes each token after the single bytes: the last two parts before it becomes whole.

    Raises:
        ValueError: the tokens before one do not bring it down to two parts, so no list of merges makes it.
    """
    ranks = {token: rank for rank, token in enumerate(tokens)}
    return [halves(token, ranks) for token in tokens[len(BYTES) :]]


def halves(token: bytes, ranks: dict[bytes, int]) -> tuple[bytes, bytes]:
    """Merges the token's bytes by lowest rank first, but not into the token itself."""
    parts = [token[i : i + 1] for i in range(len(token))]
    while len(parts) > 2:
        pairs = [ranks.get(left + right, len(ranks)) for left, right in pairwise(parts)]
        if (lowest := min(pairs)) >= ranks[token]:
            break
        i = pairs.index(lowest)
        parts[i : i + 2] = [parts[i] + parts[i + 1]]
    if len(parts) != 2:
        raise ValueError(f"no merge makes token {ranks[token]}, {token!r}, of the tokens before it")
    return parts[0], parts[1]


def dump_ranks(tokens: Sequence[bytes]) -> bytes:
    """The tokens as a ``.tiktoken`` file: a line of base64 and id each."""
    return b"".join(b"%s %d\n" % (b64encode(token), id) for id, token in enumerate(tokens))


def load_ranks(content: bytes) -> list[bytes]:
    """The tokens of a ``.tiktoken`` file whose lines are in id order."""
    return [a2b_base64(line.partition(b" ")[0]) for line in content.splitlines()]
