"""A model with its tokenizer: text in, text out."""

from __future__ import annotations

import secrets
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, overload

import torch

from glassgpt.generation.engine import NUM_ROWS
from glassgpt.generation.loading import load_in
from glassgpt.generation.sampling import SamplingParams
from glassgpt.generation.scoring import Progress, Score, logprobs, stride_for
from glassgpt.generation.speculation import DraftModel, Propose, lookup
from glassgpt.generation.writer import Completion, Writer
from glassgpt.model.gpt import GPT
from glassgpt.quantization.precision import Precision, precision_of
from glassgpt.tokenizer.tokenizer import Tokenizer
from glassgpt.weights.directory import load_tokenizer, save_model
from glassgpt.weights.quantized import save_quantized
from glassgpt.weights.source import find


@dataclass
class LanguageModel:
    """A GPT and its tokenizer: ``glassgpt.load("gpt2").generate("Hello")``."""

    model: GPT
    tokenizer: Tokenizer

    @classmethod
    def load(cls, source: str | Path, precision: Precision | None = None, device: str = "cpu") -> LanguageModel:
        """The model that ``source`` means: a run, a model directory, a hub id or a size such as ``gpt2``.

        Its matrices are kept in ``precision``: float32, bfloat16, int8 or int4; by default as a quantized directory
        stores them, and float32 from any other. ``device`` is cpu, or an accelerator such as cuda.

        Raises:
            FileNotFoundError: there is none; says what was tried.
            ValueError: a file is damaged, or the model cannot be had in this precision or on this device.
        """
        directory = find(source)
        tokenizer = load_tokenizer(directory)
        return cls(load_in(directory, precision, device, tokenizer.vocab_size), tokenizer)

    def save(self, directory: str | Path) -> None:
        """Writes a directory that ``load`` opens, and transformers too unless the model is quantized."""
        write = save_quantized if self.precision in ("int8", "int4") else save_model
        write(self.model, self.tokenizer, Path(directory))

    @property
    def precision(self) -> Precision:
        """In what the model keeps its matrices."""
        return precision_of(self.model)

    def writer(self, *, speculate: str | LanguageModel | None = None, **limits: Any) -> Writer:
        """Continues prompts that come at any time; ``limits`` are those of ``Engine``.

        ``speculate``, "lookup" or a smaller model to draft, gives the same tokens in fewer passes, to one prompt at a
        time.

        Raises:
            ValueError: the draft model has another vocabulary, or there is no such speculation.
        """
        propose = None if speculate is None else self._proposals(speculate)
        return Writer(self.model, self.tokenizer, propose, **limits)

    def _proposals(self, speculate: str | LanguageModel) -> Propose:
        """What guesses the tokens to come."""
        if isinstance(speculate, LanguageModel):
            sizes = speculate.model.config.vocab_size, self.model.config.vocab_size
            if sizes[0] != sizes[1] or speculate.tokenizer.sha256 != self.tokenizer.sha256:
                raise ValueError(
                    f"the draft model's vocabulary ({sizes[0]} tokens) is not that of the model ({sizes[1]} tokens): "
                    "choose a draft with the same tokenizer, or 'lookup'"
                )
            return DraftModel(speculate.model)
        if speculate != "lookup":
            raise ValueError(f"there is no speculation {speculate!r}: choose 'lookup', or give a smaller model")
        return lookup

    @overload
    def generate(self, prompt: str, *, seed: int | None = None, **params: Any) -> str: ...
    @overload
    def generate(self, prompt: Sequence[str], *, seed: int | None = None, **params: Any) -> list[str]: ...
    def generate(self, prompt: str | Sequence[str], *, seed: int | None = None, **params: Any) -> str | list[str]:
        """The text that follows a prompt, or each of several; ``params`` are those of ``SamplingParams``, and
        ``speculate`` as ``writer`` takes it."""
        prompts = [prompt] if isinstance(prompt, str) else prompt
        texts = [completion.text for completion in self.complete(prompts, seed=seed, **params)]
        return texts[0] if isinstance(prompt, str) else texts

    def complete(
        self,
        prompts: Sequence[str],
        *,
        n: int = 1,
        seed: int | None = None,
        speculate: str | LanguageModel | None = None,
        **params: Any,
    ) -> list[Completion]:
        """``n`` completions of each prompt, prompt by prompt, computed together; each is what it would be alone.

        With ``speculate``, as ``writer`` takes it, they are computed one after another.
        """
        checked, seed = SamplingParams(**params), secrets.randbelow(2**32) if seed is None else seed
        num_rows = 1 if speculate is not None else max(1, min(NUM_ROWS, n * len(prompts)))
        writer = self.writer(speculate=speculate, num_rows=num_rows)
        completions = [writer.add(prompt, checked, seed, choice) for prompt in prompts for choice in range(n)]
        while not writer.is_idle:
            writer.step()
        return completions

    def logprobs(self, texts: Sequence[str], stride: int | None = None) -> list[list[float]]:
        """The logprob of every token of each text; where a text exceeds the context, by windows ``stride`` apart."""
        ids = self.tokenizer.encode_batch(texts)
        return [found.tolist() for found in logprobs(self.model, ids, self.tokenizer.eot, stride)]

    def score(self, text: str | Sequence[str], stride: int | None = None, progress: Progress | None = None) -> Score:
        """How well the model predicts a text, or several together: loss, perplexity, bits per byte.

        Raises:
            ValueError: there is no text at all, or the stride cannot be.
        """
        texts = [text] if isinstance(text, str) else text
        ids = self.tokenizer.encode_batch(texts)
        if not any(ids):
            raise ValueError("the text is empty: give at least one character")
        found = torch.cat(logprobs(self.model, ids, self.tokenizer.eot, stride, progress))
        num_bytes = sum(len(text.encode()) for text in texts)
        return Score(-found.double().sum().item(), len(found), num_bytes, stride_for(self.model, stride))

    def perplexity(self, text: str | Sequence[str], stride: int | None = None) -> float:
        """``score(text).perplexity``."""
        return self.score(text, stride).perplexity

    def stream(
        self, prompt: str, *, seed: int | None = None, speculate: str | LanguageModel | None = None, **params: Any
    ) -> Iterator[str]:
        """The text that follows a prompt, in pieces of whole characters as they become certain."""
        writer = self.writer(speculate=speculate, num_rows=1)
        writer.add(prompt, SamplingParams(**params), secrets.randbelow(2**32) if seed is None else seed)
        while not writer.is_idle:
            for piece in writer.step():
                yield piece.text
