"""How likely a model finds given texts: the logprob of every token, and what they add up to. Knows ids, not text.

A text follows ``<|endoftext|>``, so that its first token is predicted too. One that exceeds the context is read in
windows of a full context that begin ``stride`` tokens apart. Every token is scored once, in the first window that
reaches it: the first ``context`` of a text see all before them, each later one at least ``context - stride + 1``.

W windows, T tokens, N scored tokens, C emb_dim, V vocabulary
"""

from __future__ import annotations

import math
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from glassgpt.model.gpt import GPT

BATCH_TOKENS = 4096  # read together
PIECE = 512  # tokens whose logits are in memory together

Progress = Callable[[int, int], None]  # how many tokens are read, and how many there are


@dataclass(frozen=True)
class Score:
    """How well a model predicts texts: the sum of -log p over so many tokens, which are so many bytes of UTF-8."""

    nats: float
    num_tokens: int
    num_bytes: int
    stride: int

    @property
    def loss(self) -> float:
        """Nats a token, as in training."""
        return self.nats / self.num_tokens

    @property
    def perplexity(self) -> float:
        """e to the power of the loss: infinite where no float holds it, as of weights that were damaged."""
        return math.inf if self.loss > math.log(sys.float_info.max) else math.exp(self.loss)

    @property
    def bits_per_byte(self) -> float:
        """What the text would take if it were compressed by this model; compares models of different vocabularies."""
        return self.nats / math.log(2) / self.num_bytes


class Window(NamedTuple):
    """Tokens ``start`` to ``end`` of a line (``<|endoftext|>``, then a text), read to score what follows ``first`` and
    those after it."""

    line: int
    start: int
    first: int
    end: int


@torch.inference_mode()
def logprobs(
    model: GPT,
    texts: Sequence[Sequence[int]],
    eot: int,
    stride: int | None = None,
    progress: Progress | None = None,
) -> list[Tensor]:
    """The logprobs of the tokens of each text, (tokens,); a text gets what it gets alone, up to rounding.

    Args:
        eot: the token that stands before every text.
        stride: as ``stride_for`` takes it.

    Raises:
        ValueError: the stride cannot be, or an id is not in the vocabulary.
    """
    stride, vocab_size = stride_for(model, stride), model.config.vocab_size
    wrong = next((id for text in texts for id in text if not 0 <= id < vocab_size), None)
    if wrong is not None:
        raise ValueError(f"token id {wrong} is not in the model's vocabulary of {vocab_size}")
    lines = [torch.tensor([eot, *text]) for text in texts]
    found = [torch.empty(len(text)) for text in texts]
    windows = [
        Window(i, *place)
        for i, text in enumerate(texts)
        for place in places(len(text), model.config.context_length, stride)
    ]
    done, total = 0, sum(window.end - window.start for window in windows)
    for batch in batches(windows):
        for window, scored in zip(batch, score(model, lines, batch), strict=True):
            found[window.line][window.first : window.end] = scored
            done += window.end - window.start
        if progress is not None:
            progress(done, total)
    return found


def stride_for(model: GPT, stride: int | None) -> int:
    """How far windows are apart: 1 to the context, by default half of it.

    Raises:
        ValueError: it is anything else.
    """
    context = model.config.context_length
    stride = max(1, context // 2) if stride is None else stride
    if not 1 <= stride <= context:
        raise ValueError(f"the stride is {stride}, expected 1 to the context of {context} tokens")
    return stride


def places(num_tokens: int, context: int, stride: int) -> Iterator[tuple[int, int, int]]:
    """``start``, ``first`` and ``end`` of each window over a text."""
    start = first = 0
    while first < num_tokens:
        end = min(start + context, num_tokens)
        yield start, first, end
        start, first = start + stride, end


def batches(windows: Sequence[Window]) -> Iterator[list[Window]]:
    """Windows of like length together, the longest first, up to BATCH_TOKENS with their padding."""
    batch: list[Window] = []
    for window in sorted(windows, key=lambda window: window.start - window.end):
        if batch and (len(batch) + 1) * (batch[0].end - batch[0].start) > BATCH_TOKENS:
            yield batch
            batch = []
        batch.append(window)
    if batch:
        yield batch


def score(model: GPT, lines: Sequence[Tensor], windows: Sequence[Window]) -> tuple[Tensor, ...]:
    """The logprobs that each window is read for."""
    read = [lines[window.line][window.start : window.end + 1] for window in windows]
    device = model.final_norm.weight.device
    tokens = pad_sequence(read, batch_first=True).to(device)  # (W, T + 1); nothing before the padding sees it
    places = torch.arange(tokens.shape[1] - 1, device=device)  # (T,)
    firsts = torch.tensor([[window.first - window.start] for window in windows], device=device)
    ends = torch.tensor([[window.end - window.start] for window in windows], device=device)
    is_scored = (firsts <= places) & (places < ends)  # (W, T)
    hidden = model.hidden(tokens[:, :-1])[is_scored]  # (N, C)
    targets = tokens[:, 1:][is_scored]  # (N,)
    found = []
    for rows, ids in zip(hidden.split(PIECE), targets.split(PIECE), strict=True):
        logits = model.unembed(rows).float()  # (512, V)
        found.append(logits.gather(1, ids[:, None])[:, 0] - logits.logsumexp(1))
    return torch.cat(found).cpu().split([window.end - window.first for window in windows])
