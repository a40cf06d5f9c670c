"""An Engine that computes several tokens of all sequences in one launch and hands them out step by step: for a GPU.

Prompts, full contexts, and choices that ``Steps`` does not make go the plain engine's way. Its twin is that engine.
"""

from __future__ import annotations

from importlib.util import find_spec
from typing import Any

import torch
from torch import nn

from glassgpt.generation.engine import Engine, Event
from glassgpt.generation.sampling import SamplingParams, draw
from glassgpt.generation.sequence import Sequence, Token
from glassgpt.generation.steps import Capture, PlainReader, Reader, Steps, is_possible
from glassgpt.model.attention import attend
from glassgpt.model.gpt import GPT, MLP, Attention, Block

NUM_STEPS = 16


def engine_for(model: GPT, **settings: Any) -> Engine:
    """The engine that suits a model: an AheadEngine with fused kernels for a plain one on the current GPU, else an
    Engine."""
    device = model.final_norm.weight.device
    if device.type != "cuda" or device.index != torch.cuda.current_device():
        return Engine(model, **settings)
    if find_spec("triton") is None or not is_plain(model):
        return Engine(model, **settings)
    from glassgpt.kernels.readers import FusedReader

    return AheadEngine(model, reader=FusedReader(model), **settings)


class AheadEngine(Engine):
    """Takes what an Engine takes; ``num_steps`` tokens are a launch, ``reader`` says how the model reads in it."""

    def __init__(
        self,
        model: GPT,
        *,
        num_steps: int = NUM_STEPS,
        reader: Reader | None = None,
        capture: Capture | None = None,
        **settings: Any,
    ):
        super().__init__(model, **settings)
        self.num_steps, self.capture = num_steps, capture
        self.reader = reader or PlainReader(model)
        self._steps: dict[SamplingParams, Steps] = {}
        self._ahead: list[dict[Sequence, Token]] = []

    @torch.inference_mode()
    def step(self) -> list[Event]:
        """Gives a token to every sequence that is read to its end, and reads prompts where there are any."""
        running = self.scheduler.running
        if not self._is_steady(running):
            self._ahead = []
            return super().step()
        if not self._ahead:
            self._ahead = self._launch(running)
        tokens = self._ahead.pop(0)
        events = [Event(sequence, tokens[sequence]) for sequence in running]
        self.cache.select([sequence.row for sequence in running if sequence.row is not None])
        self.cache.end(1)
        for sequence, token in events:
            sequence.cached += 1
            sequence.add(token.id)
            if sequence.finish_reason is not None:
                self.scheduler.remove(sequence)
        return events

    def _is_steady(self, running: list[Sequence]) -> bool:
        """Whether nobody comes, and each running sequence only has its last token to be read."""
        is_full = len(running) == len(self.scheduler.rows)
        return (
            bool(running)
            and (is_full or not self.scheduler.waiting)
            and all(sequence.num_unread == 1 and is_possible(sequence.params) for sequence in running)
        )

    def _launch(self, running: list[Sequence]) -> list[dict[Sequence, Token]]:
        """The next tokens of all sequences, as many as the fullest row has room for."""
        self.scheduler.plan()  # for its clock: all of these rows are in use
        groups: dict[SamplingParams, list[Sequence]] = {}
        for sequence in running:
            groups.setdefault(sequence.params, []).append(sequence)
        room = self.cache.capacity - max(sequence.cached for sequence in running)
        ahead: list[dict[Sequence, Token]] = [{} for _ in range(min(room, self.num_steps))]
        for params, members in groups.items():
            ids, logprobs = self._steps_for(params)(
                [sequence.row for sequence in members if sequence.row is not None],
                [sequence.cached for sequence in members],
                [sequence.tokens[-1] for sequence in members],
                [[draw(s.seed, s.choice, len(s.tokens) + n) for s in members] for n in range(self.num_steps)],
            )
            for tokens, *said in zip(ahead, ids, logprobs, strict=False):
                tokens.update((s, Token(id, logprob)) for s, id, logprob in zip(members, *said, strict=True))
        return ahead

    def _steps_for(self, params: SamplingParams) -> Steps:
        params = params.model_copy(update=UNCONCERNED)
        if params not in self._steps:
            self._steps[params] = Steps(self.reader, self.cache, params, self.num_steps, self.capture)
        return self._steps[params]


def is_plain(model: GPT) -> bool:
    """Whether all of the model is as ``GPT`` builds it: nothing replaced, and nobody looks inside."""
    parts = (GPT, Block, Attention, MLP, nn.Linear, nn.LayerNorm, nn.Embedding, nn.Dropout, nn.ModuleList)
    return all(
        type(module) in parts and not module._forward_hooks and not module._forward_pre_hooks
        for module in model.modules()
    ) and all(module.attend is attend for module in model.modules() if isinstance(module, Attention))


# Requests that differ in these alone share their recordings.
UNCONCERNED = SamplingParams().model_dump(include={"max_new_tokens", "stop", "stop_ids", "stop_at_eot", "overflow"})
