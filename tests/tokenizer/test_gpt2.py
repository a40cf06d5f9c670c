"""GPT-2's vocabulary is OpenAI's to the byte."""

from hashlib import sha256

import pytest
import tiktoken_ext.openai_public

from glassgpt.tokenizer.gpt2 import VOCABULARY, gpt2
from glassgpt.tokenizer.vocabulary import PATTERN


def test_the_chapters_texts():
    texts = ["Every effort moves you", "Every day holds a"]
    assert gpt2().encode_batch(texts) == [[6109, 3626, 6100, 345], [6109, 1110, 6622, 257]]
    assert gpt2().encode("Hello, I am") == [15496, 11, 314, 716]


def test_size_and_end_of_text():
    assert gpt2().vocab_size == 50257
    assert gpt2().eot == 50256


def test_the_vendored_file_is_the_published_one():
    published = "306cd27f03c1a714eca7108e03d66b7dc042abe8c258b44c199a7ed9838dd930"
    assert sha256(VOCABULARY.read_bytes()).hexdigest() == published
    assert gpt2().sha256 == published
    assert "Copyright (c) 2022 OpenAI" in VOCABULARY.with_name("LICENSE-gpt2.txt").read_text(encoding="utf-8")


@pytest.mark.parametrize(
    ("name", "published"),
    [
        ("vocab.json", "196139668be63f3b5d6574427317ae82f612a97c5d1cdaf36ed2256dbf636783"),  # encoder.json
        ("merges.txt", "1ce1664773c50f3e0cc8842619a93edc4624525b728b188a9e0be33b7726adc5"),  # vocab.bpe
    ],
)
def test_the_files_it_writes_are_openais_original_ones(name, published):
    assert sha256(gpt2().files()[name]).hexdigest() == published


def test_words_are_cut_as_tiktoken_cuts_them():
    assert tiktoken_ext.openai_public.r50k_pat_str == PATTERN
