"""Vocabularies learnt from texts."""

import pytest
import tokenizers
from hypothesis import given, settings
from hypothesis import strategies as st

from glassgpt.tokenizer.training import train

TEXTS = ["low lower lowest", "new newer newest", "wide wider widest", "low new wide"]


def test_what_is_frequent_becomes_a_token():
    tokenizer = train(["hug pug hugs bun pun"] * 5, vocab_size=300)
    assert [tokenizer.token_bytes(id) for id in tokenizer.encode("hug hugs pun")] == [b"hug", b" hugs", b" pun"]


def test_vocab_size_counts_bytes_and_end_of_text():
    tokenizer = train(TEXTS, vocab_size=262)
    assert tokenizer.vocab_size == 262
    assert tokenizer.eot == 261
    assert len(tokenizer.tokens) == 261


def test_the_same_texts_give_the_same_tokenizer_in_any_order():
    # Pinned, so that it is also the same on every machine and in every process.
    expected = "51261806ed6ca9548b443dc0d47091d0d9ceb597c2293c678e79b78c176df5e9"
    assert train(TEXTS, vocab_size=280).sha256 == expected
    assert train(iter(TEXTS[::-1]), vocab_size=280).sha256 == expected


def test_few_texts_give_a_smaller_vocabulary():
    assert train([], vocab_size=1000).vocab_size == 257
    assert train(["no pair twice"], vocab_size=1000).vocab_size == 257


def test_too_small_a_vocabulary_is_refused():
    with pytest.raises(ValueError, match=r"vocabulary of 256 .* at least 257"):
        train(TEXTS, vocab_size=256)


def test_no_token_is_longer_than_the_limit_for_reading_it_back():
    tokens = train(["ab" * 5000] * 2, vocab_size=300).tokens
    assert 128 < max(map(len, tokens)) <= 256


def test_end_of_text_in_the_texts_is_text():
    tokenizer = train(["<|endoftext|>"] * 10, vocab_size=300)
    assert b"<|endoftext|>" not in tokenizer.tokens


@settings(deadline=None, max_examples=100)
@given(texts=st.lists(st.text("ab é", max_size=60), max_size=6), text=st.text("ab éz"), extra=st.integers(0, 40))
def test_the_order_of_ids_says_all_about_the_merges(texts, text, extra):
    tokenizer = train(texts, vocab_size=257 + extra)
    twin = tokenizers.Tokenizer.from_str(tokenizer.files()["tokenizer.json"].decode())
    assert tokenizer.encode(text) == twin.encode(text).ids
