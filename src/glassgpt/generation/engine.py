"""Many sequences continued together over one cache: they come, run and go at any step. Knows ids, not text.

In every step each running sequence gets a token, and prompts are read with what is left of the step's budget. With the
compiled library, in float32, a sequence gets the same bits in any company; see docs/generation.md.

B batch, T tokens, V vocabulary, C emb_dim
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import count
from typing import NamedTuple

import torch
from torch import Tensor

from glassgpt.generation.sampling import SamplingParams, draw, sample
from glassgpt.generation.scheduler import Read, Scheduler
from glassgpt.generation.sequence import Sequence, Token, check
from glassgpt.model.cache import Cache
from glassgpt.model.gpt import GPT

NUM_ROWS = 16
PROMPT_TOKENS = 512  # that a step reads beside the running sequences, unless it is told otherwise
MOST_PADDING = 0.25  # of a batch of prompts: they are cheaper to read together, unless too much of it is padding


class Event(NamedTuple):
    """A sequence has got a token; whether that was its last is in ``sequence.finish_reason``."""

    sequence: Sequence
    token: Token


class Engine:
    """Continues sequences of token ids: ``add`` them at any time, ``step`` while not ``is_idle``.

    ``num_rows`` sequences run at a time, each in a row of ``capacity`` tokens (the whole context unless given): that is
    all the memory there will ever be, allocated at once. Others wait, at most ``max_waiting``. ``eot`` ends a text.
    """

    def __init__(
        self,
        model: GPT,
        *,
        num_rows: int = NUM_ROWS,
        capacity: int | None = None,
        max_step_tokens: int | None = None,
        max_waiting: int | None = None,
        eot: int | None = None,
    ):
        self.model, self.eot = model, eot
        self.scheduler = Scheduler(num_rows, max_step_tokens or num_rows + PROMPT_TOKENS, max_waiting)
        norm = model.final_norm.weight  # of the activations' dtype, which that of the matrices need not be
        self.cache = Cache(model.config, num_rows, capacity, norm.device, norm.dtype)
        self._ids = count()

    @property
    def is_idle(self) -> bool:
        return not self.scheduler.waiting and not self.scheduler.running

    def add(self, prompt: Iterable[int], params: SamplingParams, seed: int, choice: int = 0) -> Sequence:
        """Queues a prompt and returns its sequence, which the following steps fill.

        ``choice`` numbers several continuations of one prompt under one seed.

        Raises:
            ValueError: the prompt cannot be continued, or needs more than this engine's rows hold.
            QueueFull: too many wait already.
        """
        config, ids = self.model.config, tuple(prompt)
        check(ids, params, config.vocab_size, config.context_length)
        needed = min(len(ids) + params.max_new_tokens, config.context_length)
        if needed > self.cache.capacity:
            raise ValueError(
                f"prompt and new tokens may need {needed} places, the engine's rows have {self.cache.capacity}: "
                "ask for fewer, or give the engine more capacity"
            )
        stop_ids = frozenset([*params.stop_ids, *([self.eot] if params.stop_at_eot and self.eot is not None else [])])
        sequence = Sequence(next(self._ids), ids, params, seed, choice, config.context_length, stop_ids)
        if sequence.finish_reason is None:
            self.scheduler.add(sequence)
        return sequence

    def finish(self, sequence: Sequence, reason: str = "cancelled") -> None:
        """Ends a sequence now, whether it runs or waits; its row is free for another. A finished one stays as it is."""
        if sequence.finish_reason is None:
            sequence.finish_reason = reason
            self.scheduler.remove(sequence)

    @torch.inference_mode()
    def step(self) -> list[Event]:
        """Admits what fits, reads, and gives a token to every sequence that is read to its end.

        Where it raises, as for want of memory, no sequence has changed: finish some, or try again.
        """
        for copy in self.scheduler.admit():
            self.cache.copy(copy.source, copy.target, copy.length)
        reads, hidden = self.scheduler.plan(), {}
        for batch in batches(reads, self.cache.capacity):
            hidden.update(self._read(batch))
        ready = [read.sequence for read in reads if read.count == read.sequence.num_unread]
        tokens = []
        if ready:
            logits = self.model.unembed(torch.stack([hidden[sequence] for sequence in ready]))  # (B, V)
            tokens = choose(logits, ready)
        for read in reads:
            read.sequence.cached += read.count
        for sequence, token in zip(ready, tokens, strict=True):
            sequence.add(token.id)
            if sequence.finish_reason is not None:
                self.scheduler.remove(sequence)
        return [Event(*pair) for pair in zip(ready, tokens, strict=True)]

    def _read(self, batch: list[Read]) -> Iterator[tuple[Sequence, Tensor]]:
        """Lets the model read the next tokens of some sequences; yields each with its last hidden state, (C,)."""
        cache, T = self.cache, max(read.count for read in batch)
        cache.select([read.row for read in batch])
        cache.rewind([read.sequence.cached for read in batch])
        # Padded on the right: no token sees the padding, and the next pass over the row overwrites it.
        padded = torch.tensor([read.sequence.unread(read.count) + [0] * (T - read.count) for read in batch])
        hidden = self.model.hidden(padded.to(cache.device), cache)  # (B, T, C)
        for row, read in enumerate(batch):
            yield read.sequence, hidden[row, read.count - 1]


def batches(reads: list[Read], capacity: int) -> Iterator[list[Read]]:
    """The reads in groups that the model takes at once: of similar length, and padded ones still fit their rows."""
    rest = sorted(reads, key=lambda read: -read.count)
    while rest:
        T, batch, others = rest[0].count, [], []
        for read in rest:
            fits = read.count >= (1 - MOST_PADDING) * T and read.sequence.cached + T <= capacity
            (batch if fits else others).append(read)
        yield batch
        rest = others


def choose(logits: Tensor, sequences: list[Sequence]) -> list[Token]:
    """The next token of each sequence from its logits (B, V). Those with equal parameters are sampled together."""
    groups: dict[SamplingParams, list[int]] = {}
    for row, sequence in enumerate(sequences):
        groups.setdefault(sequence.params, []).append(row)
    tokens: dict[int, Token] = {}
    for params, rows in groups.items():
        members = [sequences[row] for row in rows]
        part = logits[rows] if len(groups) > 1 else logits  # (b, V)
        draws = []
        if params.temperature > 0:
            draws = [draw(member.seed, member.choice, len(member.tokens)) for member in members]
        ids = sample(part, draws, [member.tokens for member in members], params)
        logprobs = part.float().log_softmax(-1)
        chosen = logprobs.gather(1, ids[:, None])[:, 0]
        parts = zip(rows, ids.tolist(), chosen.tolist(), tops(logprobs, params.num_top), strict=True)
        for row, id, logprob, top in parts:
            tokens[row] = Token(id, logprob, top)
    return [tokens[row] for row in range(len(sequences))]


def tops(logprobs: Tensor, num_top: int) -> list[dict[int, float]]:
    """The ``num_top`` likeliest ids of each row of logprobs (B, V), each with its own."""
    if not num_top:
        return [{} for _ in logprobs]
    values, ids = logprobs.topk(num_top)
    return [dict(zip(*pair, strict=True)) for pair in zip(ids.tolist(), values.tolist(), strict=True)]


def rows_within(model: GPT, memory: int, capacity: int | None = None) -> int:
    """How many cache rows of ``capacity`` tokens, the context unless given, fit into ``memory`` bytes.

    Raises:
        ValueError: not a single one does.
    """
    config, norm = model.config, model.final_norm.weight
    needed = 2 * config.num_layers * config.emb_dim * norm.element_size() * (capacity or config.context_length)
    if memory < needed:
        raise ValueError(f"one cache row takes {needed:,} bytes, {memory:,} were given: give more, or a lower capacity")
    return memory // needed
