"""The learning rate and the weight decay as pure functions of the step.

Knows nothing of optimizers or of what happened before.
"""

from __future__ import annotations

import math

from glassgpt.training.config import ScheduleConfig


def learning_rate(step: int, steps: int, peak: float, schedule: ScheduleConfig) -> float:
    """The rate of update number ``step`` (from 0) of a run of ``steps`` updates.

    Both shapes rise linearly to ``peak`` over the warm-up. Then "cosine" falls along half a cosine to
    ``floor * peak``; "wsd" (warm-up, stable, decay) stays at ``peak`` and falls linearly over the cooldown, so a run
    can be prolonged from any point of its stable part. Sources: Loshchilov & Hutter 2017, https://arxiv.org/abs/1608.03983;
    Hu et al. 2024, https://arxiv.org/abs/2404.06395.
    """
    warmup = round(schedule.warmup * steps)
    if step < warmup:
        return peak * (step + 1) / (warmup + 1)
    if schedule.name == "cosine":
        progress = (step - warmup) / max(1, steps - warmup)
        fall = (1 - math.cos(math.pi * progress)) / 2
    else:
        cooldown = round(schedule.cooldown * steps)
        fall = max(0, step - (steps - cooldown)) / max(1, cooldown)
    return peak * (1 - (1 - schedule.floor) * fall)


def decay_share(step: int, steps: int, schedule: ScheduleConfig) -> float:
    """The weight decay of update number ``step`` (from 0) as a share of the first: it changes linearly to
    ``decay_floor``. One that ends at zero lets the last updates fit instead of shrink."""
    return 1 - (1 - schedule.decay_floor) * step / max(1, steps - 1)
