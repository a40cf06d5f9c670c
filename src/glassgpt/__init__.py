"""The GPT-2 and GPT-3 family of language models end to end, in code you can see through."""

__version__ = "0.1.0"
