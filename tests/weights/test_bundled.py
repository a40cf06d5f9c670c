"""The model that comes with the package is small, is loaded without a network, and knows English."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import pytest

import glassgpt
from glassgpt.weights.source import BUNDLED, BUNDLED_DIRECTORY, find, names_model

PROSE = (
    "The old man sat by the window and looked at the rain. He had not spoken for a long time, and when he turned "
    "to his daughter at last she saw that there were tears in his eyes."
)


def test_it_is_at_most_12_megabytes():
    assert sum(path.stat().st_size for path in BUNDLED_DIRECTORY.rglob("*")) <= 12_000_000


def test_its_directory_is_found_by_name():
    assert find(BUNDLED) == BUNDLED_DIRECTORY
    assert glassgpt.load(BUNDLED).model.config.num_parameters > 1_000_000


def test_it_expects_english_and_not_its_letters_in_another_order():
    gpt = glassgpt.load(BUNDLED)
    english, reversed_ = (gpt.score([text]).bits_per_byte for text in (PROSE, PROSE[::-1]))
    assert english < 1.8
    assert reversed_ > 2 * english


def test_a_prompt_alone_is_continued_by_it():
    command = [sys.executable, "-m", "glassgpt", "generate", "It was a dark and stormy night", "--seed", "1", "--json"]
    done = subprocess.run(command, capture_output=True, text=True, env={**os.environ, "HF_HUB_OFFLINE": "1"})
    written = json.loads(done.stdout)
    assert written["prompt"] == "It was a dark and stormy night"
    words = written["text"].lower().split()
    common = {"the", "and", "of", "to", "a", "in", "was", "he", "it", "that", "his", "her", "i", "she", "with", "had"}
    assert len(words) > 50
    assert sum(word.strip(".,;!?\"'“”") in common for word in words) > len(words) / 5


@pytest.mark.parametrize(
    ("text", "is_model"),
    [
        ("It was a dark and stormy night", False),
        ("Hello", False),
        ("", False),
        ("a" * 5000, False),
        ("gpt2", True),
        ("124M", True),
        ("classics", True),
        ("somebody/some-model", True),
        ("./not-here", True),
        (".", True),
    ],
)
def test_what_names_a_model_and_what_is_a_prompt(text, is_model):
    assert names_model(text) == is_model
