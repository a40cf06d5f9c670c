"""The options that choose the next token, as the commands that write share them. Knows no model."""

from __future__ import annotations

from dataclasses import dataclass

from cyclopts import Parameter


@Parameter(name="*")
@dataclass(frozen=True)
class Sampling:
    """Fields of ``SamplingParams``; to import it here would take torch.

    Args:
        temperature: Below 1 bolder in likely words, 0 always the likeliest (greedy).
        top_k: Chooses among this many likeliest tokens only.
        top_p: Chooses among the fewest likeliest tokens that reach this probability together; 1 is all.
        min_p: Leaves out tokens less likely than this share of the likeliest one.
        repetition_penalty: Above 1 makes tokens that occurred less likely.
    """

    temperature: float = 0.8
    top_k: int | None = None
    top_p: float | None = 0.95
    min_p: float | None = None
    repetition_penalty: float = 1.0


USUAL = Sampling()
