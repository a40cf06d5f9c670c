"""Samples while a model learns: what it writes now, after prompts that stay the same. Changes nothing of the run."""

from __future__ import annotations

from glassgpt.generation.text import LanguageModel
from glassgpt.model.gpt import GPT
from glassgpt.model.keys import key
from glassgpt.model.skeleton import skeleton
from glassgpt.training.hooks import Event, Hook, Sample, Update, every
from glassgpt.training.run import Run


def samplers(run: Run) -> list[Hook]:
    """A hook for each prompt of the run's ``samples``, none if none were asked for."""
    config = run.config.samples
    if config.every is None:
        return []
    gpt = LanguageModel(twin(run.model), run.tokenizer)
    return [every(config.every, Sampler(run, gpt, prompt)) for prompt in config.prompts]


class Sampler:
    """A hook that answers an update with what the model writes after ``prompt``, by numbers keyed by seed and step."""

    def __init__(self, run: Run, gpt: LanguageModel, prompt: str):
        self.run = run
        self.gpt = gpt
        self.prompt = prompt

    def __call__(self, event: Event) -> Sample | None:
        if not isinstance(event, Update):
            return None
        config = self.run.config
        self.run.world.doing = f"a sample after step {event.step}"
        seed = key("samples", 1, config.seed, event.step)
        text = self.gpt.generate(self.prompt, seed=seed, max_new_tokens=config.samples.tokens, overflow="slide")
        return Sample(event.step, self.prompt, text)


def twin(model: GPT) -> GPT:
    """A model on the same weights, which sees every update; without compiled blocks, other kernels or dropout."""
    other = skeleton(model.config)
    other.load_state_dict(model.state_dict(), assign=True)
    return other.eval()
