"""A launch under way: from which states of which sequences it started, and what it says. Plain bookkeeping."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from glassgpt.generation.sequence import Sequence, Token
from glassgpt.generation.steps import Said


class State(NamedTuple):
    """How far a sequence is: tokens in its cache row, its length, and the token to be read next."""

    cached: int
    length: int
    last: int

    @classmethod
    def of(cls, sequence: Sequence) -> State:
        return cls(sequence.cached, len(sequence.tokens), sequence.tokens[-1])

    @classmethod
    def after(cls, sequence: Sequence, ahead: list[dict[Sequence, Token]]) -> State:
        """Once it has got all these tokens."""
        return cls(sequence.cached + len(ahead), len(sequence.tokens) + len(ahead), ahead[-1][sequence].id)


class Flight(NamedTuple):
    """A launch under way: the states it began with, and what will be said of which sequences."""

    states: dict[Sequence, State]
    parts: list[tuple[list[Sequence], Callable[[], Said]]]

    def tokens(self) -> list[dict[Sequence, Token]]:
        """The tokens of every step, once they are known."""
        steps: list[dict[Sequence, Token]] = []
        for members, said in self.parts:
            for n, (ids, logprobs) in enumerate(zip(*said(), strict=True)):
                if n == len(steps):
                    steps.append({})
                steps[n].update(zip(members, map(Token, ids, logprobs), strict=True))
        return steps


def goes_on(sequence: Sequence, ahead: list[dict[Sequence, Token]]) -> bool:
    """Whether a sequence still runs after all these tokens, as far as the engine can tell."""
    num_left = sequence.params.max_new_tokens - (len(sequence.tokens) - len(sequence.prompt))
    return num_left > len(ahead) and not any(step[sequence].id in sequence.stop_ids for step in ahead)
