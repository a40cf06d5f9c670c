"""The GPT-2 and GPT-3 family of language models end to end, in code you can see through.

>>> import glassgpt
>>> gpt = glassgpt.load("gpt2")
>>> print(gpt.generate("Every effort moves you", max_new_tokens=25, seed=123))
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"
__all__ = ["GPT", "LanguageModel", "ModelConfig", "Tokenizer", "load"]

if TYPE_CHECKING:
    from glassgpt.generation.text import LanguageModel
    from glassgpt.model.config import ModelConfig
    from glassgpt.model.gpt import GPT
    from glassgpt.tokenizer.tokenizer import Tokenizer

    load = LanguageModel.load

_HOMES = {
    "GPT": "glassgpt.model.gpt",
    "LanguageModel": "glassgpt.generation.text",
    "ModelConfig": "glassgpt.model.config",
    "Tokenizer": "glassgpt.tokenizer.tokenizer",
}


def __getattr__(name: str) -> Any:
    """Imports the public names when they are first used: importing glassgpt alone takes no torch and no time."""
    from importlib import import_module

    if name == "load":
        return import_module("glassgpt.generation.text").LanguageModel.load
    if name in _HOMES:
        return getattr(import_module(_HOMES[name]), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
