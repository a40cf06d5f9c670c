"""One prompt being continued: what was asked, what is written, and how much of it the cache holds. Knows no model."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from glassgpt.generation.sampling import SamplingParams


@dataclass(frozen=True)
class Token:
    """One generated token; ``logprob`` and ``top`` (id -> logprob) are the model's own, before any filter."""

    id: int
    logprob: float
    top: dict[int, float] = field(default_factory=dict)


@dataclass(eq=False)
class Sequence:
    """A request and its state. (seed, choice, position) decides every draw, so the tokens depend on nothing else.

    ``finish_reason`` is None, then "length", "stop" (end of text or another stop id, or what the caller finds, such as
    a stop string), "context" (no room left and ``overflow`` is "stop") or "cancelled".
    """

    id: int  # in the order of arrival
    prompt: tuple[int, ...]
    params: SamplingParams
    seed: int
    choice: int
    context: int  # how many tokens the model can look at
    stop_ids: frozenset[int] = frozenset()
    tokens: list[int] = field(init=False)  # the prompt and what was added
    finish_reason: str | None = field(init=False, default=None)
    start: int = field(init=False, default=0)  # where the part that the model looks at begins
    row: int | None = field(init=False, default=None)  # of the cache, while it has one
    cached: int = field(init=False, default=0)  # how many tokens from ``start`` on the row holds

    def __post_init__(self) -> None:
        self.tokens = list(self.prompt)
        if self.params.max_new_tokens == 0:
            self.finish_reason = "length"
        self._make_room()

    @property
    def window(self) -> list[int]:
        """The tokens that the model looks at."""
        return self.tokens[self.start :]

    @property
    def num_unread(self) -> int:
        return len(self.tokens) - self.start - self.cached

    def unread(self, count: int) -> list[int]:
        """The next ``count`` tokens that the model has not read."""
        return self.tokens[self.start + self.cached :][:count]

    def add(self, id: int) -> None:
        """Appends a token, which may finish the sequence or push the oldest ones out of the window."""
        self.tokens.append(id)
        if id in self.stop_ids:
            self.finish_reason = "stop"
        elif len(self.tokens) - len(self.prompt) == self.params.max_new_tokens:
            self.finish_reason = "length"
        elif self.params.overflow == "stop" and len(self.tokens) > self.context:
            self.finish_reason = "context"
        self._make_room()

    def _make_room(self) -> None:
        """Where the window exceeds the context: goes on from its last half, or from all but its oldest tokens."""
        if len(self.tokens) - self.start > self.context:
            kept = max(1, self.context // 2) if self.params.overflow == "slide" else self.context
            self.start, self.cached = len(self.tokens) - kept, 0


def check(prompt: tuple[int, ...], params: SamplingParams, vocab_size: int, context: int) -> None:
    """Refuses a request that cannot be continued.

    Raises:
        ValueError: the prompt is empty, holds an id outside the vocabulary or does not fit the context.
    """
    if not prompt:
        raise ValueError("a prompt has no tokens: give at least one, such as <|endoftext|>")
    if wrong := [id for id in prompt if not 0 <= id < vocab_size]:
        raise ValueError(f"token id {wrong[0]} is not in the model's vocabulary of {vocab_size}")
    if len(prompt) > context and params.overflow in ("stop", "refuse"):
        raise ValueError(
            f"the prompt has {len(prompt)} tokens, the context holds {context}: "
            "shorten it, or choose overflow 'slide' or 'crop'"
        )
    if (needed := len(prompt) + params.max_new_tokens) > context and params.overflow == "refuse":
        raise ValueError(
            f"prompt and new tokens are {needed}, the context holds {context}: "
            f"ask for at most {context - len(prompt)} new tokens, or choose another overflow"
        )
