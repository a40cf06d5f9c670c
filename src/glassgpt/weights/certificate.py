"""The certificate of a conversion, as data: which tensor became which, how far each is off, what both models do."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict

from glassgpt import __version__
from glassgpt.model.config import ModelConfig


class Facts(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class StoredModel(Facts):
    """One side: where it lies, what it is, and the SHA-256 of each of its files."""

    path: str
    format: str
    config: ModelConfig
    files: dict[str, str]


class TensorLine(Facts):
    """One tensor of ours: what it is called on both sides, and how far it is off. No source: zeros were expected."""

    name: str
    source: list[str]
    destination: list[str]
    shape: list[int]
    source_dtype: str | None
    dtype: str
    transposed: bool
    largest_difference: float
    tolerance: float


class Logits(Facts):
    """How far the logits of the fixed prompts are off; ``largest`` is the source's largest logit without its sign."""

    largest_difference: float
    largest: float
    tolerance: float


class Greedy(Facts):
    """The greedy continuations of the fixed prompts; ``agreed`` tokens are the same up to the first other one."""

    prompts: list[list[int]]
    source: list[list[int]]
    destination: list[list[int]]
    agreed: int
    of: int


class Certificate(Facts):
    """What was compared, and whether it holds."""

    certificate: Literal[1] = 1
    glassgpt: str = __version__
    source: StoredModel
    destination: StoredModel
    tensors: list[TensorLine]
    logits: Logits
    greedy: Greedy
    remarks: list[str]

    @property
    def failures(self) -> list[str]:
        """What is beyond its tolerance, or not a number at all."""
        lines = {line.name: (line.largest_difference, line.tolerance) for line in self.tensors}
        lines["logits"] = (self.logits.largest_difference, self.logits.tolerance)
        return [
            f"{name} is off by {difference:.3g}, beyond {tolerance:.3g}"
            for name, (difference, tolerance) in lines.items()
            if not difference <= tolerance
        ]
