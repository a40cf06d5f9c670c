"""A model with its tokenizer: text in, text out."""

from __future__ import annotations

import secrets
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, overload

from glassgpt.generation.decoder import Decoder, Token
from glassgpt.generation.sampling import SamplingParams
from glassgpt.generation.stops import StopText
from glassgpt.kernels import onednn
from glassgpt.kernels.blocks import use_fused_blocks
from glassgpt.kernels.compiled import library
from glassgpt.kernels.few_rows import use_few_rows
from glassgpt.model.gpt import GPT
from glassgpt.tokenizer.tokenizer import Tokenizer
from glassgpt.weights.directory import load_model, load_tokenizer, save_model
from glassgpt.weights.source import find


@dataclass
class Completion:
    """What was made of one prompt: the new text and its tokens, without the prompt.

    ``finish_reason`` is "length", "stop" (end of text or a stop string, which ``text`` leaves out) or "context".
    ``seed`` with the same prompt and parameters gives the same text again.
    """

    prompt: str
    seed: int
    text: str = ""
    tokens: list[Token] = field(default_factory=list)
    finish_reason: str = ""


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

    @overload
    def generate(self, prompt: str, *, seed: int | None = None, **params: Any) -> str: ...
    @overload
    def generate(self, prompt: Sequence[str], *, seed: int | None = None, **params: Any) -> list[str]: ...
    def generate(self, prompt: str | Sequence[str], *, seed: int | None = None, **params: Any) -> str | list[str]:
        """The text that follows a prompt, or each of several; ``params`` are those of ``SamplingParams``."""
        prompts = [prompt] if isinstance(prompt, str) else prompt
        texts = [completion.text for completion in self.complete(prompts, seed=seed, **params)]
        return texts[0] if isinstance(prompt, str) else texts

    def complete(self, prompts: Sequence[str], *, seed: int | None = None, **params: Any) -> list[Completion]:
        """The completions of several prompts, computed together; each row is what it would be alone."""
        writing = Writing(self, prompts, SamplingParams(**params), seed)
        while not writing.is_finished:
            writing.step()
        return writing.completions

    def stream(self, prompt: str, *, seed: int | None = None, **params: Any) -> Iterator[str]:
        """The text that follows a prompt, in pieces of whole characters as they become certain."""
        writing = Writing(self, [prompt], SamplingParams(**params), seed)
        while not writing.is_finished:
            yield from writing.step()


class Writing:
    """Prompts being continued: ``step`` adds a token to each and returns the new text of each, prompt by prompt.

    An empty prompt starts from ``<|endoftext|>``. Without a seed one is drawn; every completion tells which.
    """

    def __init__(self, gpt: LanguageModel, prompts: Sequence[str], params: SamplingParams, seed: int | None = None):
        tokenizer = gpt.tokenizer
        seed = secrets.randbelow(2**32) if seed is None else seed
        ids = [tokenizer.encode(prompt) or [tokenizer.eot] for prompt in prompts]
        self.decoder = Decoder(gpt.model, ids, params, seed, tokenizer.eot)
        self.completions = [Completion(prompt, seed) for prompt in prompts]
        self.eot = tokenizer.eot
        self._streams = [tokenizer.stream() for _ in prompts]
        self._stops = [StopText(params.stop) for _ in prompts]
        for row in range(len(prompts)):
            self._close(row)

    @property
    def is_finished(self) -> bool:
        return self.decoder.is_finished

    def step(self) -> list[str]:
        """Adds one token to every unfinished prompt; returns the text that became certain, for every prompt."""
        pieces = [""] * len(self.completions)
        for token in self.decoder.step():
            pieces[token.row] = self._push(token)
        return pieces

    def _push(self, token: Token) -> str:
        row, decoder = token.row, self.decoder
        completion, stops = self.completions[row], self._stops[row]
        completion.tokens.append(token)
        is_end = token.id == self.eot and decoder.finish_reason[row] == "stop"
        piece = "" if is_end else stops.push(self._streams[row].push(token.id))
        if stops.is_found:
            decoder.finish(row)
        completion.text += piece
        return piece + self._close(row)

    def _close(self, row: int) -> str:
        """Once a row is finished: notes the reason and returns the text that was still held back."""
        if (reason := self.decoder.finish_reason[row]) is None:
            return ""
        stops, completion = self._stops[row], self.completions[row]
        rest = stops.push(self._streams[row].finish()) + stops.finish()
        completion.text += rest
        completion.finish_reason = "stop" if stops.is_found else reason
        return rest
