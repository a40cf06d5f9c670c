"""Two models on the same tokens, place by place: where they part first, and what the one does otherwise."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass

from torch import Tensor

from glassgpt.inspection.causes import Cause, causes, last_resort
from glassgpt.inspection.trace import Trace, differences, trace
from glassgpt.model.gpt import GPT
from glassgpt.weights.behaviour import prompts_for

# Two programs that do the same arithmetic in another order were seen to be off by 1e-6 of a vector's length; the exact
# GELU is off from its approximation by 1e-4.
TOLERANCE = 2e-5


@dataclass(frozen=True)
class Finding:
    """What b does otherwise, and the place where the models part once a does it too (None: nowhere)."""

    cause: str
    explanation: str
    then: str | None


@dataclass(frozen=True)
class Comparison:
    """``places`` has how far the models are off at each place, in the order of computation, and ``first`` where they
    part. ``settings`` are the values of the configuration that differ."""

    tolerance: float
    settings: dict[str, tuple[object, object]]
    places: dict[str, float]
    first: str | None
    findings: list[Finding]

    @property
    def is_explained(self) -> bool:
        """Whether the models would agree everywhere but for the findings."""
        return self.first is None or bool(self.findings and self.findings[-1].then is None)


def compare(
    a: GPT, b: GPT, trace_b: Callable[[Tensor], Trace] | None = None, tolerance: float = TOLERANCE
) -> Comparison:
    """Model b compared with model a. ``trace_b`` is for a b that another program computes, such as an ONNX graph.

    Model a is changed while causes are tried, and is as before afterwards.

    Raises:
        ValueError: they have another number of layers or heads, or another width, so that no places correspond.
    """
    settings = {name: (value, getattr(b.config, name)) for name, value in a.config if value != getattr(b.config, name)}
    if unlike := [name for name in ("num_layers", "num_heads", "emb_dim") if name in settings]:
        sizes = ", ".join(f"{name} {settings[name][0]} and {settings[name][1]}" for name in unlike)
        raise ValueError(f"these models have no places in common: {sizes}")
    common = {name: min(getattr(a.config, name), getattr(b.config, name)) for name in ("vocab_size", "context_length")}
    tokens = prompts_for(a.config.model_copy(update=common))
    expected = trace(b, tokens) if trace_b is None else trace_b(tokens)
    places = differences(trace(a, tokens), expected)
    findings = explain(a, b, lambda: differences(trace(a, tokens), expected), tolerance)
    return Comparison(tolerance, settings, places, parting(places, tolerance), findings)


def parting(places: dict[str, float], tolerance: float) -> str | None:
    """The first place that is off by more than the tolerance."""
    return next((place for place, share in places.items() if share > tolerance), None)


def explain(a: GPT, b: GPT, measure: Callable[[], dict[str, float]], tolerance: float) -> list[Finding]:
    """Gives a one cause after the other, each time the one after which the models part latest, until none helps."""
    places = measure()
    order, findings = list(places), []

    def lateness(attempt: tuple[Cause, dict[str, float]]) -> tuple[int, float]:
        first = parting(attempt[1], tolerance)
        return (len(order) if first is None else order.index(first), -sum(attempt[1].values()))

    with ExitStack() as applied:
        while (first := parting(places, tolerance)) is not None:
            for candidates in (causes(a, b), last_resort(a, b)):
                attempts = [
                    attempt for attempt in tried(candidates, measure) if lateness(attempt)[0] > order.index(first)
                ]
                if attempts:
                    break
            else:
                break
            cause, places = max(attempts, key=lateness)
            applied.enter_context(cause.applied())
            findings.append(Finding(cause.name, cause.explanation, parting(places, tolerance)))
    return findings


def tried(
    candidates: Iterator[Cause], measure: Callable[[], dict[str, float]]
) -> Iterator[tuple[Cause, dict[str, float]]]:
    """Each cause with the differences that are left once it is applied."""
    for cause in candidates:
        with cause.applied():
            after = measure()
        yield cause, after
