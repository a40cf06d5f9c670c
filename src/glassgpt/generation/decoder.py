"""A batch of prompts continued together, token by token, over the model's cache. Gives way to ``engine.Engine``, which
does all of this and more: build on that one.

Each row gives what it gives alone: rows of different length share a batch through the cache's positions and visibility,
and a row's random numbers are keyed by (seed, choice, position).

B batch, T tokens, V vocabulary
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor

from glassgpt.generation.sampling import SamplingParams, draw, sample
from glassgpt.model.cache import Cache
from glassgpt.model.gpt import GPT


@dataclass(frozen=True)
class Token:
    """One generated token; ``logprob`` and ``top`` (id -> logprob) are the model's own, before any filter."""

    row: int
    id: int
    logprob: float
    top: dict[int, float] = field(default_factory=dict)


class Decoder:
    """Continues prompts of token ids; every ``step`` adds one token to each row that is not finished.

    ``tokens[row]`` is the prompt and what was added; ``finish_reason[row]`` is None, then "length", "stop" (end of
    text, or whatever the caller gives to ``finish``) or "context" (no room left and ``overflow`` is "stop").

    Raises:
        ValueError: a prompt is empty, holds an id outside the vocabulary or exceeds the context.
    """

    def __init__(
        self, model: GPT, prompts: Sequence[Sequence[int]], params: SamplingParams, seed: int, eot: int | None = None
    ):
        self.model, self.params, self.seed = model, params, seed
        self.eot = eot if params.stop_at_eot else None
        self.tokens = [list(prompt) for prompt in prompts]
        self.prompt_lengths = [len(prompt) for prompt in prompts]
        self.finish_reason: list[str | None] = [None] * len(prompts)
        self._check()
        norm = model.final_norm.weight  # of the activations' dtype, which that of the matrices need not be
        capacity = min(model.config.context_length, max(self.prompt_lengths) + params.max_new_tokens)
        self.cache = Cache(model.config, len(prompts), capacity, norm.device, norm.dtype)
        self._rows = list(range(len(prompts)))  # the rows that the cache holds, in its order
        self._unread = [self._tail(row) for row in self._rows]  # what the model has yet to read, in the same order
        if params.max_new_tokens == 0:
            self.finish_reason = ["length"] * len(prompts)

    @property
    def is_finished(self) -> bool:
        return all(self.finish_reason)

    def finish(self, row: int, reason: str = "stop") -> None:
        """Ends a row, for a reason only the caller can see, such as a stop string."""
        self.finish_reason[row] = reason

    @torch.inference_mode()
    def step(self) -> list[Token]:
        """Adds one token to every unfinished row and returns these tokens."""
        self._drop_finished()
        logits = self._read()  # (B, V)
        draws = [draw(self.seed, 0, len(self.tokens[row])) for row in self._rows]
        ids = sample(logits, draws, [self.tokens[row] for row in self._rows], self.params).tolist()
        logprobs = logits.float().log_softmax(-1)
        chosen = logprobs[range(len(ids)), ids].tolist()
        tops = self._tops(logprobs)
        for row, id in zip(self._rows, ids, strict=True):
            self._add(row, id)
        return [Token(*fields) for fields in zip(self._rows, ids, chosen, tops, strict=True)]

    def _read(self) -> Tensor:
        """Lets the model read what it has not; returns the logits after each row's last token, (B, V)."""
        lengths = [len(unread) for unread in self._unread]
        before, T, device = self.cache.lengths, max(lengths), self.cache.device
        # Rows are padded on the right: no token sees the padding, and the cache forgets it right after.
        padded = [unread + [0] * (T - len(unread)) for unread in self._unread]
        hidden = self.model.hidden(torch.tensor(padded, device=device), self.cache)  # (B, T, C)
        self.cache.rewind([start + length for start, length in zip(before, lengths, strict=True)])
        return self.model.unembed(hidden[range(len(lengths)), [length - 1 for length in lengths]])

    def _drop_finished(self) -> None:
        """Makes the batch smaller by the finished rows, and room in rows whose context is full."""
        alive = [i for i, row in enumerate(self._rows) if self.finish_reason[row] is None]
        if len(alive) < len(self._rows):
            self._rows = [self._rows[i] for i in alive]
            self._unread = [self._unread[i] for i in alive]
            self.cache.select([self.cache.rows[i] for i in alive])
        selected, lengths = self.cache.rows, self.cache.lengths
        for i, row in enumerate(self._rows):
            if lengths[i] == self.model.config.context_length:
                self.cache.select([selected[i]])
                self._reread(self._tail(row)[:-1])
        self.cache.select(selected)

    def _reread(self, tokens: list[int]) -> None:
        """Fills the selected row of the cache anew."""
        self.cache.rewind([0])
        if tokens:
            self.model.hidden(torch.tensor([tokens], device=self.cache.device), self.cache)

    def _tail(self, row: int) -> list[int]:
        """The last tokens of a row that the model reads where not all fit."""
        tokens, context = self.tokens[row], self.model.config.context_length
        if len(tokens) <= context:
            return list(tokens)
        return tokens[-(max(1, context // 2) if self.params.overflow == "slide" else context) :]

    def _add(self, row: int, id: int) -> None:
        tokens = self.tokens[row]
        tokens.append(id)
        self._unread[self._rows.index(row)] = [id]
        if id == self.eot:
            self.finish_reason[row] = "stop"
        elif len(tokens) - self.prompt_lengths[row] == self.params.max_new_tokens:
            self.finish_reason[row] = "length"
        elif self.params.overflow == "stop" and len(tokens) > self.model.config.context_length:
            self.finish_reason[row] = "context"

    def _tops(self, logprobs: Tensor) -> list[dict[int, float]]:
        if not self.params.num_top:
            return [{} for _ in logprobs]
        values, ids = logprobs.topk(self.params.num_top)
        return [dict(zip(*pair, strict=True)) for pair in zip(ids.tolist(), values.tolist(), strict=True)]

    def _check(self) -> None:
        config, params = self.model.config, self.params
        for prompt in self.tokens:
            if not prompt:
                raise ValueError("a prompt has no tokens: give at least one, such as <|endoftext|>")
            if wrong := [id for id in prompt if not 0 <= id < config.vocab_size]:
                raise ValueError(f"token id {wrong[0]} is not in the model's vocabulary of {config.vocab_size}")
            if len(prompt) > config.context_length and params.overflow in ("stop", "refuse"):
                raise ValueError(
                    f"the prompt has {len(prompt)} tokens, the context holds {config.context_length}: "
                    "shorten it, or choose overflow 'slide' or 'crop'"
                )
            if (needed := len(prompt) + params.max_new_tokens) > config.context_length and params.overflow == "refuse":
                raise ValueError(
                    f"prompt and new tokens are {needed}, the context holds {config.context_length}: "
                    f"ask for at most {config.context_length - len(prompt)} new tokens, or choose another overflow"
                )
