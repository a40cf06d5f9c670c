"""T11: a loss, a gradient or a weight that is not a finite number, in the middle of training."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from random import Random

import torch
from safetensors.torch import load
from torch import Tensor

from glassgpt.training.checkpoint import Checkpoints
from glassgpt.training.hooks import Event, Hook, Update
from glassgpt.training.loop import train
from glassgpt.training.run import Run
from glassgpt.training.state import Progress, checkpoint_facts
from glassgpt.training.torture.outcome import Outcome, fault
from glassgpt.training.torture.rehearsal import INTERVAL, Rehearsal, one_thread
from glassgpt.weights.checkpoint import newest
from glassgpt.weights.directory import model_files

STEPS = 3 * INTERVAL


@fault("T11", "NaN or infinity in a loss, a gradient or a weight")
def poison_training(outcome: Outcome, directory: Path, trials: int, luck: Random) -> None:
    """Poisons ``trials`` runs, each at a random step and tensor."""
    rehearsal = Rehearsal(directory, 1, STEPS)
    with one_thread():
        for trial in range(trials):
            poison = POISONS[trial % len(POISONS)]
            step = luck.randrange(1, STEPS)
            what = f"{poison.__name__.removeprefix('_')} of step {step + 1} (trial {trial})"
            outcome.check(what, _broken(rehearsal, rehearsal.place(f"{trial}"), poison, step, luck))
        for trial in range(min(trials, 10)):
            outcome.check_control(_careless(rehearsal, rehearsal.place(f"careless-{trial}"), luck))


def _broken(
    rehearsal: Rehearsal, place: Path, poison: Callable[[Run, int, Random], list[Hook]], step: int, luck: Random
) -> str | None:
    run = rehearsal.build()
    try:
        if train(run, place, poison(run, step, luck)):
            raise KeyboardInterrupt  # no poison sends a signal: it is the user's
        return "training went on to the end"
    except ValueError as error:
        return f"training failed for another reason: {error}"
    except FloatingPointError as error:
        if not any(f"step {number}" in str(error) for number in (step, step + 1)):
            return f"the message does not name the step: {error}"
    return _saved(place, step)


def _saved(place: Path, step: int) -> str | None:
    """The promise that broke: nothing from after ``step``, and nothing that is not finite, is in a checkpoint."""
    if (checkpoint := newest(place / "checkpoints")) is None:
        return None
    if checkpoint.step > step:
        return f"step {checkpoint.step} was saved after the poison of step {step + 1}"
    for name in checkpoint.manifest.files:
        if name.endswith(".safetensors"):
            for tensor, values in load(checkpoint.read(name)).items():
                if not values.isfinite().all():
                    return f"{tensor} of the checkpoint of step {checkpoint.step} is not finite"
    return None


def _loss(run: Run, step: int, luck: Random) -> list[Hook]:
    def hook(module: torch.nn.Module, inputs: object, loss: Tensor) -> Tensor:
        return loss * math.nan if module.training and run.optimizer.updates == step else loss

    run.objective.register_forward_hook(hook)
    return []


def _gradient(run: Run, step: int, luck: Random) -> list[Hook]:
    def hook(gradient: Tensor) -> Tensor:
        return _with_one_bad(gradient, luck) if run.optimizer.updates == step else gradient

    luck.choice(list(run.model.parameters())).register_hook(hook)
    return []


def _weight(run: Run, step: int, luck: Random) -> list[Hook]:
    weight = luck.choice(list(run.model.parameters()))

    def hook(event: Event) -> None:
        if isinstance(event, Update) and event.step == step:
            weight.data = _with_one_bad(weight.data, luck)

    return [hook]


POISONS = (_loss, _gradient, _weight)


def _with_one_bad(values: Tensor, luck: Random) -> Tensor:
    values = values.clone()
    values.view(-1)[luck.randrange(values.numel())] = luck.choice([math.nan, math.inf, -math.inf])
    return values


def _careless(rehearsal: Rehearsal, place: Path, luck: Random) -> str | None:
    """A program that looks neither at the gradients nor at the weights it saves."""
    run = rehearsal.build()
    _gradient(run, 0, luck)
    tokens, targets = run.batches.at(0)
    run.objective(tokens, targets).backward()
    run.optimizer.step(1e-3)
    progress = Progress(step=1)
    with Checkpoints(place / "checkpoints") as checkpoints:
        checkpoints.commit(1, model_files(run.model, run.tokenizer), checkpoint_facts(run, progress))
    return _saved(place, 1)
