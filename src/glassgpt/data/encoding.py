"""Fast encoding of much text into arrays: tiktoken, or gigatoken where it is installed. Knows nothing of documents.

Both give exactly the ids of ``Tokenizer.encode`` and refuse what it refuses. gigatoken is several times as fast
(benchmarks/prepare.py).
"""

from __future__ import annotations

import re
import threading
from collections.abc import Callable
from importlib.util import find_spec
from tempfile import NamedTemporaryFile

import numpy as np
import tiktoken

from glassgpt.tokenizer.tokenizer import Tokenizer, checked
from glassgpt.tokenizer.vocabulary import PATTERN, dump_ranks

Encode = Callable[[str], np.ndarray]

# Letters and digits that only Unicode 17 knows: gigatoken 0.10 already takes them for such, tiktoken 0.14 does not yet.
# All other code points are treated alike (tests/data/test_encoding.py tries every one).
UNICODE_17 = re.compile(
    "[\u088f\u0c5c\u0cdc\ua7ce\ua7cf\ua7d2\ua7d4\ua7f1\U00010940-\U00010959\U00010ec5-\U00010ec7\U00011db0-\U00011ddb"
    "\U00011de0-\U00011de9\U00016ea0-\U00016eb8\U00016ebb-\U00016ed3\U00016ff2-\U00016ff6\U000187f8-\U000187ff"
    "\U00018d09-\U00018d1e\U00018d80-\U00018df2\U0001e6c0-\U0001e6de\U0001e6e0-\U0001e6e2\U0001e6e4\U0001e6e5"
    "\U0001e6e7-\U0001e6ed\U0001e6f0-\U0001e6f4\U0001e6fe\U0001e6ff\U0002b73a-\U0002b73f\U0002cea2-\U0002cead"
    "\U000323b0-\U00033479]"
)
# What the UTF-8 of any of them holds. Looking for these first takes a hundredth of the time.
HINTS = (b"\xe0\xa2\x8f", b"\xe0\xb1\x9c", b"\xe0\xb3\x9c", b"\xea\x9f", b"\xf0")


def engine() -> str:
    """What encodes here: gigatoken where it is installed, else tiktoken."""
    return "gigatoken" if find_spec("gigatoken") else "tiktoken"


def encoder(tokenizer: Tokenizer) -> Encode:
    """The fastest ``tokenizer.encode`` at hand, as a function from a text to its ids (uint32)."""
    return {"gigatoken": gigatoken_encoder, "tiktoken": tiktoken_encoder}[engine()](tokenizer)


def tiktoken_encoder(tokenizer: Tokenizer) -> Encode:
    """tiktoken without the detour through a list of Python integers; threads run side by side."""
    encoding = tiktoken.Encoding(
        name=tokenizer.sha256,
        pat_str=PATTERN,
        mergeable_ranks={token: id for id, token in enumerate(tokenizer.tokens)},
        special_tokens={},
        explicit_n_vocab=tokenizer.eot,
    )
    return lambda text: encoding.encode_to_numpy(checked(text))


def gigatoken_encoder(tokenizer: Tokenizer) -> Encode:
    """gigatoken, and tiktoken for the texts on which the two disagree."""
    from gigatoken import Tokenizer as Gigatoken

    exact, ranks, local = tiktoken_encoder(tokenizer), dump_ranks(tokenizer.tokens), threading.local()

    def build() -> Gigatoken:
        with NamedTemporaryFile(suffix=".tiktoken") as file:
            file.write(ranks)
            file.flush()
            return Gigatoken.from_tiktoken(file.name, pretokenizer="gpt2")  # without special tokens

    def encode(text: str) -> np.ndarray:
        if is_disputed(checked(text)):
            return exact(text)
        if not hasattr(local, "gigatoken"):
            local.gigatoken = build()  # one a thread: it serves one at a time
        return local.gigatoken.encode(text)

    return encode


def is_disputed(text: str) -> bool:
    """Whether a text holds a character that gigatoken and tiktoken take for different things."""
    if text.isascii():
        return False
    utf8 = text.encode()
    return any(hint in utf8 for hint in HINTS) and UNICODE_17.search(text) is not None
