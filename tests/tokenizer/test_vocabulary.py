"""The spelling of tokens in files, and merges worked out from tokens."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from glassgpt.tokenizer.vocabulary import BYTES, dump_ranks, load_ranks, merges, spell, unspell


@given(st.binary())
def test_unspell_undoes_spell_and_no_spelling_holds_whitespace(token):
    assert unspell(spell(token)) == token
    assert len(spell(token)) == len(token)
    assert spell(token).split() == ([spell(token)] if token else [])


def test_spelling_is_gpt2s():
    assert spell(b" the\n") == "ĠtheĊ"
    assert sorted(BYTES) == [bytes([byte]) for byte in range(256)]
    assert [spell(byte) for byte in BYTES] == sorted(spell(byte) for byte in BYTES)


def test_merges_join_the_last_two_parts():
    assert merges([*BYTES, b"th", b"the", b"in", b"thein"]) == [
        (b"t", b"h"),
        (b"th", b"e"),
        (b"i", b"n"),
        (b"the", b"in"),
    ]


def test_a_token_that_no_merge_can_make_is_refused():
    with pytest.raises(ValueError, match="no merge makes token 256, b'the'"):
        merges([*BYTES, b"the"])


def test_ranks_are_read_as_they_are_written():
    assert dump_ranks([b"!", b" a"]) == b"IQ== 0\nIGE= 1\n"
    assert load_ranks(dump_ranks(BYTES)) == BYTES
