"""The weights of another model as the first ones of a run: fine-tuning."""

from __future__ import annotations

from torch import Tensor

from glassgpt.parallel.conduct import on_main
from glassgpt.parallel.whole import fill
from glassgpt.training.run import Run
from glassgpt.weights.directory import load_model
from glassgpt.weights.source import find

POSITIONS = "position_embedding.weight"


def adopt(run: Run, source: str) -> None:
    """Fills a run's model with the weights of a run, a model directory, a hub id or a published size; a shorter context
    takes the first positions.

    Raises:
        FileNotFoundError: there is none.
        ValueError: it has another shape.
    """
    parameters = dict(run.model.named_parameters())
    shapes = {name: parameter.shape for name, parameter in parameters.items()}
    weights: dict[str, Tensor] = {}

    def read() -> None:
        weights.update(load_model(find(source)).named_parameters())
        if POSITIONS in weights:
            weights[POSITIONS] = weights[POSITIONS][: run.context_length]
        theirs = {name: weight.shape for name, weight in weights.items()}
        for name in sorted(shapes.keys() | theirs.keys()):
            if shapes.get(name) != theirs.get(name):
                raise ValueError(
                    f"model.start_from {source}: {name} is {describe(theirs.get(name))} there and "
                    f"{describe(shapes.get(name))} here: give [model] that model's size, and [data] its tokenizer"
                )

    on_main(run.world, read)
    fill(run.world, parameters, weights.__getitem__)
    run.working.refresh()


def describe(shape: tuple[int, ...] | None) -> str:
    return "missing" if shape is None else str(tuple(shape))
