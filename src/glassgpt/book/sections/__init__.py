"""The chapter computed again, section by section: each function yields the values of the ledger entries it names."""

from collections.abc import Callable

from glassgpt.book.sections import family, model, opening, parts
from glassgpt.book.sections.shared import Chapter, Values

# Which entries a section computes, by how their ids begin.
SECTIONS: dict[Callable[[Chapter], Values], tuple[str, ...]] = {
    opening.settings: ("seed.config", "seed.vocabulary", "seed.embedding-width", "seed.dropout"),
    opening.sizes: ("seed.size", "derived.first-report-sizes", "seed.layer-2048", "seed.gpt2-to-gpt3"),
    opening.training_time: ("seed.training-time", "derived.training-time"),
    opening.tokens: ("seed.tokens",),
    opening.labels: ("seed.labels",),
    opening.placeholder: ("seed.listing-4.1", "seed.dummy", "ch04.dummy"),
    parts.layernorm: ("ch04.layernorm",),
    parts.gelu: ("ch04.gelu",),
    parts.feedforward: ("ch04.feedforward",),
    parts.shortcut: ("ch04.shortcut",),
    parts.block: ("ch04.block",),
    model.gpt: ("ch04.gpt",),
    model.exercise_1: ("ch04.exercise-4.1",),
    family.settings: ("ch04.exercise-4.2",),
    model.exercise_3: ("ch04.exercise-4.3",),
    family.formula: ("derived.formula",),
    family.parameters: ("params",),
    family.gpt3: ("gpt3",),
    model.generate: ("ch04.generate",),
}
