"""The engine for text: prompts in, pieces of whole characters out, ended by stop strings. Knows no tokens' meaning.

What is streamed is, joined, the text of the completion; what may become a stop string is held back.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, NamedTuple

from glassgpt.generation.ahead import engine_for
from glassgpt.generation.sampling import SamplingParams
from glassgpt.generation.sequence import Sequence, Token
from glassgpt.generation.speculation import Propose, SpeculativeEngine, Tally
from glassgpt.generation.stops import StopText
from glassgpt.model.gpt import GPT
from glassgpt.tokenizer.tokenizer import Tokenizer


@dataclass(eq=False)
class Completion:
    """What was made of one prompt: the new text and its tokens, without the prompt.

    ``finish_reason`` is "" while it is written, then "length", "stop" (end of text or a stop string, which ``text``
    leaves out), "context" or "cancelled". ``seed`` and ``choice`` with the same prompt and parameters give the same
    text again.
    """

    prompt: str
    seed: int
    choice: int = 0
    text: str = ""
    tokens: list[Token] = field(default_factory=list)
    finish_reason: str = ""


class Piece(NamedTuple):
    """The text of a completion that a token has made certain, often none."""

    completion: Completion
    token: Token
    text: str


class Writer:
    """Continues prompts together: ``add`` them at any time, ``step`` while not ``is_idle``.

    ``limits`` are those of ``Engine``: how many run at a time, how many wait, how much is read in a step. With
    ``propose`` they run one after another, and ``tally`` counts its guesses.
    """

    def __init__(self, model: GPT, tokenizer: Tokenizer, propose: Propose | None = None, **limits: Any):
        self.tokenizer = tokenizer
        self.tally: Tally | None = None
        if propose is None:
            self.engine = engine_for(model, eot=tokenizer.eot, **limits)
        else:
            self.engine = engine = SpeculativeEngine(model, propose, eot=tokenizer.eot, **limits)
            self.tally = engine.tally
        self._drafts: dict[Sequence, Draft] = {}

    @property
    def is_idle(self) -> bool:
        return self.engine.is_idle

    def add(self, prompt: str | list[int], params: SamplingParams, seed: int, choice: int = 0) -> Completion:
        """Queues a prompt, as text or as ids, and returns its completion, which the following steps fill.

        An empty prompt starts from ``<|endoftext|>``.

        Raises:
            ValueError: the prompt cannot be continued.
            QueueFull: too many wait already.
        """
        stops = StopText(params.stop)
        ids = (self.tokenizer.encode(prompt) if isinstance(prompt, str) else prompt) or [self.tokenizer.eot]
        text = prompt if isinstance(prompt, str) else self.tokenizer.decode(prompt)
        completion = Completion(text, seed, choice)
        sequence = self.engine.add(ids, params, seed, choice)
        completion.finish_reason = sequence.finish_reason or ""
        if sequence.finish_reason is None:
            self._drafts[sequence] = Draft(completion, self.tokenizer, stops)
        return completion

    def step(self) -> list[Piece]:
        """Adds at most one token to every completion; returns what is new."""
        pieces = []
        for sequence, token in self.engine.step():
            draft = self._drafts[sequence]
            text = draft.push(token, is_end=sequence.finish_reason == "stop")
            if draft.stops.is_found:
                self.engine.finish(sequence, "stop")
            if sequence.finish_reason is not None:
                text += self._close(sequence)
            pieces.append(Piece(draft.completion, token, text))
        return pieces

    def cancel(self, completion: Completion) -> str:
        """Ends a completion now and returns the text that was still held back; its memory is free for others."""
        for sequence, draft in self._drafts.items():
            if draft.completion is completion:
                self.engine.finish(sequence)
                return self._close(sequence)
        return ""

    def _close(self, sequence: Sequence) -> str:
        assert sequence.finish_reason is not None
        return self._drafts.pop(sequence).finish(sequence.finish_reason)


class Draft:
    """A completion in the making: its bytes that are no character yet, its characters that may become a stop string."""

    def __init__(self, completion: Completion, tokenizer: Tokenizer, stops: StopText):
        self.completion, self.stops, self._stream = completion, stops, tokenizer.stream()

    def push(self, token: Token, is_end: bool) -> str:
        """Adds a token, whose own text does not count where it only marks the end; returns what became certain."""
        self.completion.tokens.append(token)
        return "" if is_end else self._add(self.stops.push(self._stream.push(token.id)))

    def finish(self, reason: str) -> str:
        """Notes how it ended; returns what was still held back."""
        rest = self._add(self.stops.push(self._stream.finish()) + self.stops.finish())
        self.completion.finish_reason = "stop" if self.stops.is_found else reason
        return rest

    def _add(self, text: str) -> str:
        self.completion.text += text
        return text
