"""Bulk encoding gives the very ids of ``Tokenizer.encode``, for every character there is."""

import sys
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from glassgpt.data import encoding
from glassgpt.data.documents import SHAKESPEARE
from glassgpt.tokenizer.gpt2 import gpt2
from glassgpt.tokenizer.training import train

GPT2 = gpt2()
CHARACTERS = [chr(i) for i in range(sys.maxunicode + 1) if not 0xD800 <= i < 0xE000]


@pytest.fixture(scope="module", params=["tiktoken", "gigatoken"])
def encode(request: pytest.FixtureRequest) -> encoding.Encode:
    if request.param == "gigatoken":
        pytest.importorskip("gigatoken", reason="gigatoken encodes faster; pip install 'glassgpt[data]'")
        return encoding.gigatoken_encoder(GPT2)
    return encoding.tiktoken_encoder(GPT2)


@pytest.mark.parametrize("text", ["", "Every effort moves you", "<|endoftext|>", "a<|endoftext|>b", " \n \r\n\t"])
def test_text_is_encoded_as_ordinary_text(encode: encoding.Encode, text: str):
    assert encode(text).tolist() == GPT2.encode(text)


def test_a_lone_surrogate_is_refused_as_tokenizer_encode_does(encode: encoding.Encode):
    with pytest.raises(ValueError) as expected:
        GPT2.encode("a \ud83d b")
    with pytest.raises(ValueError) as refusal:
        encode("a \ud83d b")
    assert str(refusal.value) == str(expected.value)


def test_plays_are_encoded_alike_on_several_threads(encode: encoding.Encode):
    text = SHAKESPEARE.read_text()
    parts = [text[i : i + 50_000] for i in range(0, len(text), 50_000)]
    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(encode, parts))
    assert all(isinstance(ids, np.ndarray) for ids in found)
    assert [ids.tolist() for ids in found] == GPT2.encode_batch(parts)


def test_every_character_is_taken_for_what_tiktoken_takes_it_for():
    pytest.importorskip("gigatoken", reason="gigatoken encodes faster; pip install 'glassgpt[data]'")
    encode = encoding.gigatoken_encoder(GPT2)
    # Beside a letter, a digit, a sign and a space it shows whether it is one of them.
    for start in range(0, len(CHARACTERS), 5000):
        some = CHARACTERS[start : start + 5000]
        text = "".join(f"a{c}1{c}.{c} {c}\n" for c in some)
        if encode(text).tolist() != GPT2.encode(text):
            wrong = [hex(ord(c)) for c in some if encode(f"a{c}1").tolist() != GPT2.encode(f"a{c}1")]
            pytest.fail(f"other ids for {wrong}")


@given(
    st.lists(st.text(max_size=8) | st.sampled_from(["'s", "'ll", " '", "\n", "  ", "\t ", "12", "日本", "é", "\u00a0"]))
)
def test_any_text_is_encoded_alike(encode: encoding.Encode, parts: list[str]):
    text = "".join(parts)
    assert encode(text).tolist() == GPT2.encode(text)


@pytest.mark.parametrize("engine", [encoding.tiktoken_encoder, encoding.gigatoken_encoder])
def test_a_vocabulary_of_ones_own_serves_too(engine):
    if engine is encoding.gigatoken_encoder:
        pytest.importorskip("gigatoken", reason="gigatoken encodes faster; pip install 'glassgpt[data]'")
    text = SHAKESPEARE.read_text()[:200_000] + "äöü 日本 <|endoftext|>"
    own = train([text], 700)
    assert engine(own)(text).tolist() == own.encode(text)


def test_without_gigatoken_it_is_tiktoken(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setitem(sys.modules, "gigatoken", None)
    assert encoding.engine() == "tiktoken"
    assert encoding.encoder(GPT2)("Every effort").tolist() == GPT2.encode("Every effort")
