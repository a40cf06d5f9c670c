"""Samples while training: the same for the same seed and step, and without a trace in what is learnt."""

from __future__ import annotations

import pytest
import torch

from glassgpt.inspection.samples import samplers, twin
from glassgpt.training.config import SamplesConfig
from glassgpt.training.hooks import Event, Hook, Sample, Update
from glassgpt.training.loop import train
from glassgpt.training.metrics import METRICS, VARYING, read
from glassgpt.training.run import Run
from glassgpt.training.torture.rehearsal import Rehearsal
from glassgpt.weights.checkpoint import newest

SAMPLES = SamplesConfig(every=4, prompts=("", "Once"), tokens=24)  # more than the context holds


@pytest.fixture
def make_run(tmp_path):
    """A run of 12 steps with dropout, with or without samples."""
    rehearsal = Rehearsal(tmp_path / "rehearsal", seed=1, steps=12)

    def make(samples: SamplesConfig = SAMPLES) -> Run:
        rehearsal.config = rehearsal.config.model_copy(update={"samples": samples})
        return rehearsal.build()

    return make


def finish(run: Run, directory, *hooks: Hook, resume: bool = False) -> list[Sample]:
    """Trains to the end; returns the samples that hooks heard of."""
    heard: list[Event] = []
    assert train(run, directory, [*samplers(run), heard.append, *hooks], resume=resume) == 0
    return [event for event in heard if isinstance(event, Sample)]


def learnt(directory) -> list[bytes]:
    checkpoint = newest(directory / "checkpoints")
    assert checkpoint is not None
    return [checkpoint.read(name) for name in ("model.safetensors", "training/optimizer.safetensors")]


def story(directory) -> list[dict]:
    return [{name: value for name, value in line.items() if name not in VARYING} for line in read(directory / METRICS)]


def test_every_prompt_is_continued_every_so_many_steps(make_run, tmp_path):
    samples = finish(make_run(), tmp_path)
    places = [(step, prompt) for step in (4, 8, 12) for prompt in ("", "Once")]
    assert [(sample.step, sample.prompt) for sample in samples] == places
    assert all(sample.text for sample in samples)
    lines = [line for line in read(tmp_path / METRICS) if "prompt" in line]
    assert [(line["step"], line["prompt"], line["text"]) for line in lines] == [
        (sample.step, sample.prompt, sample.text) for sample in samples
    ]


def test_what_is_learnt_is_bit_for_bit_the_same_without_samples(make_run, tmp_path):
    assert finish(make_run(), tmp_path / "with")
    assert not finish(make_run(SamplesConfig()), tmp_path / "without")
    assert learnt(tmp_path / "with") == learnt(tmp_path / "without")


def test_a_run_that_was_continued_tells_the_same_samples_once(make_run, tmp_path):
    def crash(event: Event) -> None:
        if isinstance(event, Update) and event.step == 9:
            raise RuntimeError("crash")

    finish(make_run(), tmp_path / "whole")
    with pytest.raises(RuntimeError):
        finish(make_run(), tmp_path / "parts", crash)
    finish(make_run(), tmp_path / "parts", resume=True)
    assert story(tmp_path / "parts") == story(tmp_path / "whole")


def test_the_twin_sees_every_update_and_has_no_dropout(make_run):
    run = make_run()
    other, tokens = twin(run.model), torch.zeros(1, 4, dtype=torch.long)
    before = other(tokens)
    with torch.no_grad():
        run.model.token_embedding.weight[0] += 1
    assert not torch.equal(other(tokens), before)
    assert not other.training and run.model.training
