"""Which tensor holds a number that is not one, on whatever rank it lies."""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor

from glassgpt.parallel.gradients import local
from glassgpt.parallel.world import World


def first_not_finite(tensors: Mapping[str, Tensor], world: World) -> str | None:
    """The name of the first of ``tensors`` with NaN or infinity in it on any rank; the same on all of them."""
    names = list(tensors)
    here = next((number for number, name in enumerate(names) if not local(tensors[name]).isfinite().all()), len(names))
    first = -world.max(-here)
    return names[first] if first < len(names) else None
