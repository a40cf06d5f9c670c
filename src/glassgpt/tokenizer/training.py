"""Learns a vocabulary from texts."""

from __future__ import annotations

import json
from collections.abc import Iterable

import tokenizers
from tokenizers.models import BPE
from tokenizers.pre_tokenizers import ByteLevel
from tokenizers.trainers import BpeTrainer

from glassgpt.tokenizer.tokenizer import Tokenizer, checked
from glassgpt.tokenizer.vocabulary import BYTES, LONGEST, merges, unspell

SMALLEST = len(BYTES) + 1  # the bytes and <|endoftext|>


def train(texts: Iterable[str], vocab_size: int) -> Tokenizer:
    """A byte-level BPE learnt from texts, the same for the same texts in any order.

    ``vocab_size`` counts the bytes and ``<|endoftext|>``; the result is smaller when the texts have fewer pairs that
    occur twice.

    Raises:
        ValueError: ``vocab_size`` has no room for the 256 bytes and ``<|endoftext|>``.
    """
    if vocab_size < SMALLEST:
        raise ValueError(
            f"a vocabulary of {vocab_size} cannot hold 256 bytes and <|endoftext|>: give at least {SMALLEST}"
        )
    learner = tokenizers.Tokenizer(BPE())
    learner.pre_tokenizer = ByteLevel(add_prefix_space=False)
    learner.train_from_iterator(
        map(checked, texts),
        BpeTrainer(
            vocab_size=vocab_size - 1,  # Tokenizer puts <|endoftext|> after the tokens
            min_frequency=2,
            max_token_length=LONGEST,
            initial_alphabet=ByteLevel.alphabet(),
            show_progress=False,
        ),
    )
    learnt = json.loads(learner.to_str())["model"]["merges"]
    pairs = [(unspell(left), unspell(right)) for left, right in learnt]
    tokens = BYTES + [left + right for left, right in pairs]
    assert merges(tokens) == pairs, "a token of the learnt vocabulary has two merges, which its ids cannot express"
    return Tokenizer(tokens)
