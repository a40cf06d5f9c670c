"""The two tokenizers every promise is tested with: GPT-2's and one learnt here."""

import pytest

from glassgpt.tokenizer.gpt2 import gpt2
from glassgpt.tokenizer.tokenizer import Tokenizer
from glassgpt.tokenizer.training import train

TEXTS = [
    "Every effort moves you. Every day holds a new effort, and every effort moves the day.",
    "L'été, le café était fermé; l'hiver, le café était ouvert. Ça, c'était le café.",
    "Каждое усилие движет тебя. Каждый день движет усилие.",
    "毎日の努力が人を動かす。努力は毎日の人を動かす。",
    "🙂🙂 🙃🙃 👩‍👩‍👧‍👦👩‍👩‍👧‍👦  \n\n  \n\n\t\tfor i in range(10):\n\t\tfor j in range(10):\n",
]


@pytest.fixture(scope="session", params=["gpt2", "own"])
def tokenizer(request: pytest.FixtureRequest) -> Tokenizer:
    return gpt2() if request.param == "gpt2" else train(TEXTS, vocab_size=400)


@pytest.fixture(scope="session")
def own() -> Tokenizer:
    return train(TEXTS, vocab_size=400)
