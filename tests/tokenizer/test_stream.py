"""Streams give whole characters only, and together what decode gives."""

from hypothesis import given, settings
from hypothesis import strategies as st

from glassgpt.tokenizer.gpt2 import gpt2


@settings(deadline=None, max_examples=300)
@given(data=st.data())
def test_a_stream_joins_to_decode_for_any_ids(tokenizer, data):
    # The first 256 ids are single bytes, so half of these streams are mostly invalid UTF-8.
    ids = data.draw(st.lists(st.integers(0, 255) | st.integers(0, tokenizer.eot)))
    stream = tokenizer.stream()
    assert "".join([*map(stream.push, ids), stream.finish()]) == tokenizer.decode(ids)


@settings(deadline=None, max_examples=300)
@given(text=st.text(st.characters(min_codepoint=0x80, exclude_categories=["Cs"], exclude_characters="\ufffd")))
def test_a_stream_of_a_text_never_shows_half_a_character(tokenizer, text):
    stream = tokenizer.stream()
    pieces = [stream.push(id) for id in tokenizer.encode(text)]
    assert "".join(pieces) == text and stream.finish() == ""


def test_a_character_appears_with_its_last_token():
    stream = gpt2().stream()
    assert [stream.push(id) for id in gpt2().encode("日本")] == ["", "日", "", "本"]


def test_finish_tells_of_a_character_that_never_became_whole():
    stream = gpt2().stream()
    assert stream.push(gpt2().encode("日")[0]) == ""
    assert stream.finish() == "\ufffd"
