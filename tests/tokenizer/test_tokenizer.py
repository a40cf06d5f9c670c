"""What Tokenizer promises, for GPT-2's vocabulary and for one of our own."""

import pickle
import random
import subprocess
import sys

import pytest
import tokenizers
from hypothesis import given, settings
from hypothesis import strategies as st

from glassgpt.tokenizer.tokenizer import Tokenizer

# Any text, and text of what tokenizers stumble over: contractions, runs of whitespace, joined emoji, special text.
FRAGMENTS = [
    *("I'll", "'S", " don't", "12345", "_", "...", "<|endoftext|>", "<|", "|>", "½", "١٢", "१२"),
    *("  ", "\n", "\r\n", "\t ", "\u00a0", "\u3000", "\x00", "\ufeff", "\ufffd"),
    *("café", "e\u0301", "日本", "語", "نص", "ไทย", "🙂", "👩\u200d👧"),
]
texts = st.text() | st.lists(st.sampled_from(FRAGMENTS) | st.text(max_size=5)).map("".join)


@pytest.fixture(scope="session")
def hugging_face(tokenizer: Tokenizer) -> tokenizers.Tokenizer:
    return tokenizers.Tokenizer.from_str(tokenizer.files()["tokenizer.json"].decode())


@settings(deadline=None, max_examples=200)
@given(text=texts)
def test_ids_are_those_of_hugging_faces_tokenizers(tokenizer, hugging_face, text):
    hugging_face.encode_special_tokens = True  # <|endoftext|> in a text is text
    assert tokenizer.encode(text) == hugging_face.encode(text).ids
    hugging_face.encode_special_tokens = False
    assert tokenizer.encode(text, special=True) == hugging_face.encode(text).ids


@settings(deadline=None, max_examples=200)
@given(text=texts)
def test_decode_undoes_encode(tokenizer, text):
    assert tokenizer.decode(tokenizer.encode(text)) == text
    assert tokenizer.decode(tokenizer.encode(text, special=True)) == text


@settings(deadline=None, max_examples=50)
@given(batch=st.lists(texts, max_size=50))
def test_a_batch_is_encoded_as_its_texts(tokenizer, batch):
    assert tokenizer.encode_batch(batch) == [tokenizer.encode(text) for text in batch]


def test_endoftext_in_a_text_is_text_unless_special(tokenizer):
    text = "one<|endoftext|>two"
    assert tokenizer.eot not in tokenizer.encode(text)
    assert tokenizer.eot not in tokenizer.encode_batch([text])[0]
    assert tokenizer.encode(text, special=True).count(tokenizer.eot) == 1
    assert tokenizer.encode("<|endoftext|>", special=True) == [tokenizer.eot]
    assert tokenizer.decode([tokenizer.eot]) == "<|endoftext|>"


def test_a_lone_surrogate_is_refused_by_its_place(tokenizer):
    for encode in (tokenizer.encode, lambda text: tokenizer.encode_batch([text])):
        with pytest.raises(ValueError, match=r"character 3 of the text is the lone surrogate '\\ud83d'"):
            encode("abc\ud83d")


def test_ids_outside_the_vocabulary_are_refused(tokenizer):
    size = tokenizer.vocab_size
    for id in (-1, size, 2**40):
        with pytest.raises(ValueError, match=f"token id {id} is not in the vocabulary of {size}"):
            tokenizer.decode([0, id])


def test_token_bytes_join_to_the_text_also_inside_characters(tokenizer):
    ids = tokenizer.encode("日本語 🙃")
    assert b"".join(map(tokenizer.token_bytes, ids)).decode() == "日本語 🙃"
    assert tokenizer.decode(tokenizer.encode("𒀀")[:1]) == "\ufffd"


def test_a_megabyte_without_spaces_is_encoded(tokenizer):
    word = "".join(random.Random(0).choices("abcdefgh", k=2**20))
    assert tokenizer.decode(tokenizer.encode(word)) == word


def test_a_tokenizer_travels_to_another_process(tokenizer):
    tokenizer.encode("used before it travels")
    assert pickle.loads(pickle.dumps(tokenizer)).encode("a text") == tokenizer.encode("a text")


def test_importing_it_does_not_import_torch():
    code = "import sys, glassgpt.tokenizer.training, glassgpt.tokenizer.gpt2; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0
