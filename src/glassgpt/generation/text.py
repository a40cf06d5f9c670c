"""A model with its tokenizer: text in, text out."""

from __future__ import annotations

import secrets
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, overload

from glassgpt.generation.engine import NUM_ROWS
from glassgpt.generation.sampling import SamplingParams
from glassgpt.generation.writer import Completion, Writer
from glassgpt.kernels import onednn
from glassgpt.kernels.blocks import use_fused_blocks
from glassgpt.kernels.compiled import library
from glassgpt.kernels.few_rows import use_few_rows
from glassgpt.model.gpt import GPT
from glassgpt.tokenizer.tokenizer import Tokenizer
from glassgpt.weights.directory import load_model, load_tokenizer, save_model
from glassgpt.weights.source import find


@dataclass
class LanguageModel:
    """A GPT and its tokenizer: ``glassgpt.load("gpt2").generate("Hello")``."""

    model: GPT
    tokenizer: Tokenizer

    @classmethod
    def load(cls, source: str | Path) -> LanguageModel:
        """The model that ``source`` means: a run, a model directory, a hub id or a size such as ``gpt2``.

        Raises:
            FileNotFoundError: there is none; says what was tried.
            ValueError: a file is damaged.
        """
        directory = find(source)
        model = load_model(directory)
        if onednn.is_available():
            onednn.use_onednn(model)
            use_few_rows(model)
            use_fused_blocks(model)
            library()  # the first on a machine is compiled: better now than in the middle of a text
        return cls(model, load_tokenizer(directory))

    def save(self, directory: str | Path) -> None:
        """Writes a directory that ``load`` and transformers open."""
        save_model(self.model, self.tokenizer, Path(directory))

    def writer(self, **limits: Any) -> Writer:
        """Continues prompts that come at any time; ``limits`` are those of ``Engine``."""
        return Writer(self.model, self.tokenizer, **limits)

    @overload
    def generate(self, prompt: str, *, seed: int | None = None, **params: Any) -> str: ...
    @overload
    def generate(self, prompt: Sequence[str], *, seed: int | None = None, **params: Any) -> list[str]: ...
    def generate(self, prompt: str | Sequence[str], *, seed: int | None = None, **params: Any) -> str | list[str]:
        """The text that follows a prompt, or each of several; ``params`` are those of ``SamplingParams``."""
        prompts = [prompt] if isinstance(prompt, str) else prompt
        texts = [completion.text for completion in self.complete(prompts, seed=seed, **params)]
        return texts[0] if isinstance(prompt, str) else texts

    def complete(
        self, prompts: Sequence[str], *, n: int = 1, seed: int | None = None, **params: Any
    ) -> list[Completion]:
        """``n`` completions of each prompt, prompt by prompt, computed together; each is what it would be alone."""
        checked, seed = SamplingParams(**params), secrets.randbelow(2**32) if seed is None else seed
        writer = self.writer(num_rows=max(1, min(NUM_ROWS, n * len(prompts))))
        completions = [writer.add(prompt, checked, seed, choice) for prompt in prompts for choice in range(n)]
        while not writer.is_idle:
            writer.step()
        return completions

    def stream(self, prompt: str, *, seed: int | None = None, **params: Any) -> Iterator[str]:
        """The text that follows a prompt, in pieces of whole characters as they become certain."""
        writer = self.writer(num_rows=1)
        writer.add(prompt, SamplingParams(**params), secrets.randbelow(2**32) if seed is None else seed)
        while not writer.is_idle:
            for piece in writer.step():
                yield piece.text
