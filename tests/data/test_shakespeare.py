"""The bundled text is dialogue and nothing else: no headings, no notes, no traces of how it was made."""

import re

import pytest

from glassgpt.data.documents import SHAKESPEARE

TEXT = SHAKESPEARE.read_text(encoding="utf-8")
TITLES = [
    "ROMEO AND JULIET",
    "HAMLET, PRINCE OF DENMARK",
    "MACBETH",
    "A MIDSUMMER NIGHT'S DREAM",
    "THE TEMPEST",
    "KING LEAR",
    "OTHELLO, THE MOOR OF VENICE",
    "JULIUS CAESAR",
]


def test_it_is_about_a_megabyte_of_plain_ascii():
    assert 900_000 < len(TEXT.encode("ascii")) < 1_100_000


def test_it_holds_letters_punctuation_and_line_feeds_only():
    assert set(re.sub(r"[A-Za-z]", "", TEXT)) == set(" \n.,;:!?'\"()-")
    assert not re.search(r" \n|\n |  |\n{4}", TEXT)


@pytest.mark.parametrize("word", ["Gutenberg", "etext", "copyright", "Carnegie", "PMB", "http", "Exeunt", "Dramatis"])
def test_no_trace_of_the_edition_remains(word: str):
    assert word.lower() not in TEXT.lower()


def test_every_speech_is_a_name_in_capitals_a_colon_and_lines():
    for block in re.split(r"\n{2,}", TEXT.strip()):
        name, *lines = block.split("\n")
        assert (name in TITLES and not lines) or (re.fullmatch(r"[A-Z ]+:", name) and lines), block


def test_the_plays_are_where_a_reader_looks_for_them():
    assert [line for line in TEXT.split("\n") if line in TITLES] == TITLES
    assert "\n\nROMEO:\n" in TEXT
    assert "JULIET:\nO Romeo, Romeo! wherefore art thou Romeo?\n" in TEXT
    assert "HAMLET:\nTo be, or not to be,--that is the question:--\n" in TEXT
    assert "MACBETH:\nSeyton!" not in TEXT and "LADY MACBETH:\nOut, damned spot! out, I say!" in TEXT
