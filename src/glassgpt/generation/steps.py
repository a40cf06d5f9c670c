"""Several tokens for rows of a cache in one launch: reading, choosing and reading again, without the CPU in between.

On a GPU the launch replays a CUDA graph, one for each bucket of batch sizes; a batch is filled up to its bucket by
repeating its last row. Everything a launch touches lies where it lay before, and no number of it is a Python number.
Knows nothing of prompts or of when to stop: rows go on, and the caller discards what it does not want. The twin is
``Engine.step``.

B rows, V vocabulary
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol, cast

import torch
from torch import Tensor

from glassgpt.generation.sampling import SamplingParams, sample
from glassgpt.model.cache import Cache
from glassgpt.model.gpt import GPT
from glassgpt.model.static_cache import StaticCache, StaticLayer

Capture = Callable[[Callable[[], None]], Callable[[], None]]
Said = tuple[list[list[int]], list[list[float]]]  # ids and log-probabilities, each (num_steps, B)


class Reader(Protocol):
    """Reads one token a row and says what may come next."""

    @property
    def layer(self) -> type[StaticLayer]:
        """What the cache that it reads is made of."""
        ...

    def __call__(self, tokens: Tensor, cache: StaticCache) -> Tensor:
        """Logits (B, V) after ``tokens`` (B, 1)."""
        ...

    def likeliest(self, logits: Tensor) -> tuple[Tensor, Tensor]:
        """The likeliest ids (B,) by logits (B, V) in float32, and their log-probabilities (B,)."""
        ...


class PlainReader:
    """The model as it is."""

    layer = StaticLayer

    def __init__(self, model: GPT):
        self.model = model

    def __call__(self, tokens: Tensor, cache: StaticCache) -> Tensor:
        return self.model.unembed(self.model.hidden(tokens, cast(Cache, cache))[:, -1])

    def likeliest(self, logits: Tensor) -> tuple[Tensor, Tensor]:
        """The likeliest ids (B,) by logits (B, V) in float32, and their log-probabilities (B,)."""
        ids = logits.argmax(-1)
        return ids, logprobs_of(logits, ids)


class Steps:
    """``num_steps`` tokens at once for any rows of ``cache``, all chosen by the same ``params``.

    Raises:
        ValueError: ``params`` has a repetition penalty, which needs to see the whole text, or asks for ``num_top``.
    """

    def __init__(
        self, reader: Reader, cache: Cache, params: SamplingParams, num_steps: int, capture: Capture | None = None
    ):
        if not is_possible(params):
            raise ValueError("several steps at once know no repetition_penalty and no num_top: take single steps")
        self.reader, self.cache, self.params, self.num_steps = reader, cache, params, num_steps
        self.capture = capture or (cuda_graph if cache.device.type == "cuda" else as_it_is)
        self._launches: dict[int, Launch] = {}

    def __call__(self, rows: list[int], lengths: list[int], tokens: list[int], draws: list[list[float]]) -> Said:
        """What ``start`` says, once it is known."""
        return self.start(rows, lengths, tokens, draws)()

    @torch.inference_mode()
    def start(
        self, rows: list[int], lengths: list[int], tokens: list[int], draws: list[list[float]]
    ) -> Callable[[], Said]:
        """Launches the steps; what is returned waits for the next ids of each row and their log-probabilities, and is
        to be called before the next start.

        Row ``rows[b]`` of the cache holds ``lengths[b]`` tokens, fewer than its capacity, and reads ``tokens[b]``
        first; ``draws`` (num_steps, B) decide the choices, and are nothing where these are greedy. What a row says once
        it is full means nothing. The cache gains the tokens read; that they count is for the caller to tell it.
        """
        assert max(lengths) < self.cache.capacity
        size = bucket(len(rows))
        launch = self._launches.get(size)
        is_new = launch is None
        if launch is None:
            launch = self._launches[size] = Launch(self, size)
        launch.load(rows, lengths, tokens, draws)
        if is_new:
            launch.record(self.capture)
            launch.load(rows, lengths, tokens, draws)  # recording may have run it
        launch.run()
        return lambda: (launch.ids[:, : len(rows)].tolist(), launch.logprobs[:, : len(rows)].tolist())


class Launch:
    """The steps of one batch size, between buffers that never move."""

    def __init__(self, steps: Steps, size: int):
        device = steps.cache.device
        self.size, self.reader, self.params, self.num_steps = size, steps.reader, steps.params, steps.num_steps
        self.cache = StaticCache(steps.cache, size, steps.reader.layer)
        self.tokens = torch.zeros(size, 1, dtype=torch.int64, device=device)
        self.draws = torch.zeros(steps.num_steps, size, dtype=torch.float64, device=device)
        self.ids = torch.zeros(steps.num_steps, size, dtype=torch.int64, device=device)
        self.logprobs = torch.zeros(steps.num_steps, size, device=device)
        self.run = self.compute

    def load(self, rows: list[int], lengths: list[int], tokens: list[int], draws: list[list[float]]) -> None:
        """Writes the inputs to their places."""
        fill = self.size - len(rows)
        self.cache.load([*rows, *rows[-1:] * fill], [*lengths, *lengths[-1:] * fill])
        self.tokens.copy_(torch.tensor([*tokens, *tokens[-1:] * fill])[:, None])
        if self.params.temperature > 0:
            self.draws.copy_(torch.tensor([[*step, *step[-1:] * fill] for step in draws], dtype=torch.float64))

    def record(self, capture: Capture) -> None:
        self.run = capture(self.compute)

    def compute(self) -> None:
        for step in range(self.num_steps):
            logits = self.reader(self.tokens, self.cache).float()  # (B, V)
            if self.params.temperature == 0.0:
                ids, logprobs = self.reader.likeliest(logits)
            else:
                ids = sample(logits, self.draws[step], (), self.params)
                logprobs = logprobs_of(logits, ids)
            self.tokens.copy_(ids[:, None])
            self.ids[step], self.logprobs[step] = ids, logprobs


def logprobs_of(logits: Tensor, ids: Tensor) -> Tensor:
    """The log-probabilities (B,) of ids (B,) under logits (B, V)."""
    return logits.gather(1, ids[:, None])[:, 0] - logits.logsumexp(1)


def is_possible(params: SamplingParams) -> bool:
    """Whether ``Steps`` chooses tokens in this way."""
    return params.repetition_penalty == 1.0 and params.num_top == 0


def bucket(B: int) -> int:
    """The batch size that B rows run at: a power of two up to 64, then a multiple of 64."""
    return 1 << (B - 1).bit_length() if B <= 64 else -(-B // 64) * 64


def as_it_is(step: Callable[[], None]) -> Callable[[], None]:
    """No recording: every launch is computed anew. On a CPU, and to compare with."""
    return step


def cuda_graph(step: Callable[[], None]) -> Callable[[], None]:
    """What replays all that ``step`` launches on the current CUDA device.

    The step runs twice beforehand, aside: kernels are compiled and libraries take their workspaces, neither of which
    can be recorded. Source: https://docs.pytorch.org/docs/stable/notes/cuda.html#cuda-graphs.
    """
    aside = torch.cuda.Stream()
    aside.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(aside):
        step()
        step()
    torch.cuda.current_stream().wait_stream(aside)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        step()
    return graph.replay
