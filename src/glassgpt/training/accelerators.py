"""What hardware can do at most, from its data sheets, and how long a number of FLOPs takes on it. Knows no model."""

from __future__ import annotations

import tomllib
from dataclasses import dataclass
from functools import cache
from importlib.resources import files

YEAR = 365 * 86400  # seconds

# Brown et al. 2020, table D.1: the training of GPT-3 175B. https://arxiv.org/abs/2005.14165
GPT3_FLOPS = 3.14e23


@dataclass(frozen=True)
class Accelerator:
    """One row of accelerators.toml: memory in GiB, rates in TFLOP/s; a type it cannot multiply has no rate.

    ``devices`` are the names under which its driver reports it.
    """

    name: str
    memory: int
    float32: float
    source: str
    devices: tuple[str, ...] = ()
    float16: float | None = None
    bfloat16: float | None = None
    chapter_rate: float | None = None
    chapter_years: int | None = None

    @property
    def memory_bytes(self) -> int:
        return self.memory * 2**30

    def multiplies(self, dtype: str) -> str:
        """The type ``dtype`` is multiplied in: where bfloat16 is missing float16, where both are missing float32."""
        if dtype == "float32":
            return dtype
        return "bfloat16" if self.bfloat16 else "float16" if self.float16 else "float32"

    def peak(self, dtype: str) -> float:
        """FLOP/s in ``dtype``, or in the type that stands in for it."""
        return 1e12 * getattr(self, self.multiplies(dtype))

    def seconds(self, flops: float, dtype: str, utilization: float) -> float:
        """Time for ``flops`` at a share ``utilization`` of the peak."""
        return flops / (self.peak(dtype) * utilization)


@cache
def accelerators() -> dict[str, Accelerator]:
    """All known accelerators by short name."""
    rows = tomllib.loads(files("glassgpt.training").joinpath("accelerators.toml").read_text(encoding="utf-8"))
    return {key: Accelerator(**row) for key, row in rows.items()}


def accelerator_of(device: str) -> Accelerator | None:
    """The accelerator that a driver reports as ``device``, if it is known."""
    return next((row for row in accelerators().values() if device in row.devices), None)
