"""How many windows each step takes: the same for all, or growing in equal stages at the start of a run.

Small batches learn more from a token while the loss falls fast; large ones pay when the gradient is mostly noise.
Source: McCandlish et al. 2018, https://arxiv.org/abs/1812.06162; Brown et al. 2020 trained GPT-3 with such a ramp.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Ramp:
    """``first`` windows at step 0, as many more in every further stage, ``full`` from step ``steps`` on.

    Raises:
        ValueError: ``full`` is no multiple of ``first``.
    """

    full: int
    first: int
    steps: int

    def __post_init__(self) -> None:
        if self.first < 1 or self.full % self.first:
            raise ValueError(f"a batch cannot grow from {self.first} to {self.full}: take a divisor of {self.full}")

    @property
    def stages(self) -> int:
        """Stages before the full batch."""
        return self.full // self.first - 1

    def at(self, step: int) -> int:
        """The windows of a step."""
        return self.full if step >= self.steps else self.first * (1 + step * self.stages // self.steps)

    def before(self, step: int) -> int:
        """The windows of all steps before this one."""
        total = self.full * max(0, step - self.steps)
        for stage in range(self.stages):
            start, end = (-(-self.steps * edge // self.stages) for edge in (stage, stage + 1))
            total += self.first * (stage + 1) * (min(max(step, start), end) - start)
        return total
