"""An Engine for one sequence that guesses several tokens, reads them in one pass, and keeps those that come true.

Every token is still the model's own choice from its own logits, made by the draw of its position: a guess only decides
whether the logits that follow it are there already. The twin is the plain Engine, token for token.

V vocabulary
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from itertools import cycle, islice
from typing import Any

import torch

from glassgpt.generation.engine import Engine, Event, choose
from glassgpt.generation.sequence import Sequence
from glassgpt.model.gpt import GPT

# With the token before them they are eight: as many as the library reads of a bfloat16 model like a single one.
NUM_GUESSES = 7
LONGEST, SHORTEST = 4, 2  # endings of the text that a lookup tries to find again

# At most so many tokens that may follow those of a sequence, ids of the model's vocabulary; often none.
Propose = Callable[[Sequence, int], list[int]]


@dataclass
class Tally:
    """How guesses went: ``passes`` of the model after the prompt, guesses ``proposed`` in them, and ``accepted``."""

    passes: int = 0
    proposed: int = 0
    accepted: int = 0


class SpeculativeEngine(Engine):
    """Takes what an Engine takes; ``propose`` guesses at most ``num_guesses`` tokens a pass, ``tally`` counts them.

    Since each draw is fixed by (seed, choice, position), a guess is accepted where it equals what the model chooses:
    that gives the tokens of plain sampling, not only their distribution. Rejection sampling (Leviathan et al. 2023,
    https://arxiv.org/abs/2211.17192) accepts somewhat more guesses and gives other tokens than without speculation.

    Raises:
        ValueError: more than one row is asked for.
    """

    def __init__(
        self, model: GPT, propose: Propose, *, num_guesses: int = NUM_GUESSES, num_rows: int = 1, **settings: Any
    ):
        if num_rows != 1:
            raise ValueError(f"speculation continues one sequence at a time, {num_rows} rows were given: give 1")
        super().__init__(model, num_rows=1, **settings)
        self.propose, self.num_guesses, self.tally = propose, num_guesses, Tally()
        self._guesses: list[int] = []
        self._logits = torch.empty(0)  # of the next token, then of what follows each guess

    @torch.inference_mode()
    def step(self) -> list[Event]:
        """Gives the sequence its next token, by a pass of the model unless the last one has seen to it."""
        running = self.scheduler.running
        if not running or running[0].num_unread != 1:
            self._forget()
            return super().step()
        [sequence] = running
        if not len(self._logits):
            self._look_ahead(sequence)
        [token] = choose(self._logits[:1], [sequence])
        sequence.cached += 1
        sequence.add(token.id)
        if self._guesses[:1] == [token.id]:
            self.tally.accepted += 1
            self._guesses, self._logits = self._guesses[1:], self._logits[1:]
        else:
            self._forget()
        if sequence.finish_reason is not None:
            self.scheduler.remove(sequence)
        return [Event(sequence, token)]

    def _look_ahead(self, sequence: Sequence) -> None:
        """Reads the last token and guesses after it, no more than can become part of the text."""
        tokens, params = sequence.tokens, sequence.params
        missing = len(sequence.prompt) + params.max_new_tokens - len(tokens)
        room = min(self.num_guesses, missing - 1, self.cache.capacity - len(sequence.window))
        guesses = self.propose(sequence, room)[:room] if room > 0 else []
        assert sequence.row is not None
        self.cache.select([sequence.row])
        self.cache.rewind([sequence.cached])  # forgets the guesses that did not come true
        read = torch.tensor([[tokens[-1], *guesses]], device=self.cache.device)
        self._logits = self.model.unembed(self.model.hidden(read, self.cache)[0])  # (1 + guesses, V)
        self._guesses = guesses
        self.tally.passes += 1
        self.tally.proposed += len(guesses)

    def _forget(self) -> None:
        self._guesses, self._logits = [], torch.empty(0)


def lookup(sequence: Sequence, count: int) -> list[int]:
    """What followed when the text last ended as it does now, or nothing if it never did.

    Source: prompt lookup decoding, https://github.com/apoorvumang/prompt-lookup-decoding.
    """
    tokens = sequence.tokens
    for length in range(min(LONGEST, len(tokens) - 1), SHORTEST - 1, -1):
        ending = tokens[-length:]
        for start in range(len(tokens) - length - 1, -1, -1):
            if tokens[start : start + length] == ending:
                return list(islice(cycle(tokens[start + length :]), count))  # a text that repeats itself goes on to
    return []


class DraftModel:
    """Guesses what a smaller model of the same vocabulary writes with the same draws; keeps a cache of its own.

    It has no guess where the text exceeds its context.
    """

    def __init__(self, model: GPT):
        self.engine = Engine(model, num_rows=1)

    def __call__(self, sequence: Sequence, count: int) -> list[int]:
        if len(sequence.window) > self.engine.model.config.context_length:
            return []
        params = sequence.params.model_copy(update={"max_new_tokens": count, "overflow": "stop", "num_top": 0})
        draft = self.engine.add(sequence.window, params, sequence.seed, sequence.choice)
        while not self.engine.is_idle:
            self.engine.step()
        return draft.tokens[len(draft.prompt) :]
