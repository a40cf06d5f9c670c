"""What trackers are told of an event: numbers by name. Knows no tracker."""

from __future__ import annotations

from dataclasses import asdict

from glassgpt.training.hooks import Evaluation, Event, Spike, Update

GROUPS: dict[type[Event], str] = {Update: "training", Evaluation: "validation", Spike: "spike"}


def figures(event: Event) -> dict[str, float]:
    """The numbers of an event, such as ``training/loss``; none for an event that has no curve."""
    if (group := GROUPS.get(type(event))) is None:
        return {}
    numbers = {name: value for name, value in asdict(event).items() if isinstance(value, int | float)}
    return {f"{group}/{name}": value for name, value in numbers.items() if name != "step"}
