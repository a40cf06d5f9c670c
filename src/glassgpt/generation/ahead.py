"""An Engine that computes several tokens of all sequences in one launch and hands them out step by step: for a GPU.

While one launch is handed out the next is under way; what turns out not to be wanted is discarded. Prompts, full
contexts, and choices that ``Steps`` does not make go the plain engine's way. Its twin is that engine.
"""

from __future__ import annotations

from collections.abc import Callable
from importlib.util import find_spec
from typing import Any

import torch
from torch import nn

from glassgpt.generation.engine import Engine, Event
from glassgpt.generation.flight import Flight, State, goes_on
from glassgpt.generation.sampling import SamplingParams, draw
from glassgpt.generation.sequence import Sequence, Token
from glassgpt.generation.steps import Capture, PlainReader, Reader, Said, Steps, is_possible
from glassgpt.model.attention import attend
from glassgpt.model.gpt import GPT, MLP, Attention, Block

NUM_STEPS = 16
MOST_KINDS = 64  # of parameters whose recordings are kept: requests may choose freely, memory is not free


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
        self._flight: Flight | None = None

    @torch.inference_mode()
    def step(self) -> list[Event]:
        """Gives a token to every sequence that is read to its end, and reads prompts where there are any."""
        running = self.scheduler.running
        if not self._is_steady(running):
            self._ahead, self._flight = [], None
            return super().step()
        if not self._ahead:
            self._ahead = self._land(running)
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

    def _land(self, running: list[Sequence]) -> list[dict[Sequence, Token]]:
        """The next tokens of all sequences, as many as the fullest row has room for. The launch after them is started,
        so that the device is busy while these are handed out."""
        self.scheduler.plan()  # for its clock: all of these rows are in use
        flight = self._flight
        if flight is None or any(flight.states.get(sequence) != State.of(sequence) for sequence in running):
            flight = self._start({sequence: State.of(sequence) for sequence in running})
        room = self.cache.capacity - max(flight.states[sequence].cached for sequence in running)
        ahead = flight.tokens()[:room]
        after = {sequence: State.after(sequence, ahead) for sequence in running if goes_on(sequence, ahead)}
        has_room = all(state.cached < self.cache.capacity for state in after.values())
        self._flight = self._start(after) if after and has_room else None
        return ahead

    def _start(self, states: dict[Sequence, State]) -> Flight:
        """Launches the next tokens of sequences that are in these states."""
        groups: dict[Steps, list[Sequence]] = {}
        for sequence in states:
            groups.setdefault(self._steps_for(sequence.params), []).append(sequence)
        return Flight(states, [(members, self._launch(steps, members, states)) for steps, members in groups.items()])

    def _launch(self, steps: Steps, members: list[Sequence], states: dict[Sequence, State]) -> Callable[[], Said]:
        here = [states[sequence] for sequence in members]
        draws = []
        if steps.params.temperature > 0:
            pairs = list(zip(members, here, strict=True))
            draws = [[draw(s.seed, s.choice, at.length + n) for s, at in pairs] for n in range(self.num_steps)]
        rows = [sequence.row for sequence in members if sequence.row is not None]
        return steps.start(rows, [state.cached for state in here], [state.last for state in here], draws)

    def _steps_for(self, params: SamplingParams) -> Steps:
        if len(self._steps) > MOST_KINDS:
            self._steps.clear()
        if params not in self._steps:
            key = params.model_copy(update=UNCONCERNED)
            if key not in self._steps:
                self._steps[key] = Steps(self.reader, self.cache, key, self.num_steps, self.capture)
            self._steps[params] = self._steps[key]
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
