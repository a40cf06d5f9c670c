"""How fast a model writes on this machine: reading prompts, then one token at a time. Knows no text.

Both are timed through the engine that also writes for a user; greedy, so that choosing costs next to nothing.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from itertools import count

import torch
from torch import nn

from glassgpt.generation.ahead import engine_for
from glassgpt.generation.sampling import SamplingParams
from glassgpt.generation.sequence import Sequence
from glassgpt.model.gpt import GPT


@dataclass(frozen=True)
class Round:
    """``first_token``: seconds until all requests of the batch have their first token; the rest is tokens a second of
    all together, ``prefill`` read until then and ``decode`` written after it."""

    first_token: float
    prefill: float
    decode: float


class Pace:
    """Times ``batch`` requests of ``prompt_tokens`` each, which write ``new_tokens``; the first ``round`` warms up.

    Raises:
        ValueError: prompt and new tokens do not fit the context, or there is nothing to time.
    """

    def __init__(self, model: GPT, batch: int, prompt_tokens: int, new_tokens: int):
        needed, context = prompt_tokens + new_tokens, model.config.context_length
        if needed > context:
            raise ValueError(f"prompt and new tokens are {needed}, the context holds {context}: ask for fewer")
        if batch < 1 or prompt_tokens < 1 or new_tokens < 2:
            raise ValueError(
                f"a batch of {batch}, {prompt_tokens} prompt tokens and {new_tokens} new ones cannot be timed: "
                "give at least 1, 1 and 2"
            )
        self.batch, self.prompt_tokens, self.new_tokens = batch, prompt_tokens, new_tokens
        self.vocab_size = model.config.vocab_size
        self.engine = engine_for(model, num_rows=batch, capacity=needed)
        self._rounds = count()

    def round(self) -> Round:
        """Reads prompts that were never read before, and continues them."""
        generator = torch.Generator().manual_seed(next(self._rounds))
        prompts = torch.randint(self.vocab_size, (self.batch, self.prompt_tokens), generator=generator).tolist()
        begun, reading = self._write(prompts, 1)
        # They continue themselves: the engine finds all but their last token in the cache.
        _, writing = self._write([sequence.tokens for sequence in begun], self.new_tokens - 1)
        return Round(reading, self.batch * self.prompt_tokens / reading, self.batch * (self.new_tokens - 1) / writing)

    def _write(self, prompts: list[list[int]], num_tokens: int) -> tuple[list[Sequence], float]:
        """The sequences of some prompts with so many new tokens, and the seconds it took."""
        params = SamplingParams(max_new_tokens=num_tokens, temperature=0.0, stop_at_eot=False)
        start = time.perf_counter()
        sequences = [self.engine.add(prompt, params, seed=1) for prompt in prompts]
        while not self.engine.is_idle:
            self.engine.step()
        return sequences, time.perf_counter() - start


def bytes_a_pass(model: GPT) -> int:
    """The bytes of weights that the model reads to write a token: all but those it only looks rows up in."""
    head = model.token_embedding if model.config.tied_head else model.head
    assert isinstance(head, nn.Module)
    parts = nn.ModuleList([model.blocks, model.final_norm, head])
    return sum(tensor.nbytes for tensor in (*parts.parameters(), *parts.buffers()))
