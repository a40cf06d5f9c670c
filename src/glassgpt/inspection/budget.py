"""What to train in a given time: the size, batch and number of steps that this machine's pace and the text allow.

Knows nothing of files, clocks or options: how fast a configuration is and how settings become one are handed in.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from glassgpt.inspection.data_limited import expected_loss
from glassgpt.inspection.plan import training_memory
from glassgpt.model.config import ModelConfig
from glassgpt.training.calibration import Pace
from glassgpt.training.config import RunConfig

# (blocks, width, heads), from what learns in seconds on a laptop to GPT-2's two smaller sizes
LADDER = ((2, 64, 2), (4, 128, 4), (6, 192, 6), (6, 256, 8), (6, 384, 6), (8, 512, 8), (12, 768, 12), (24, 1024, 16))
STEPS = 2000  # about so many updates: fewer learn less from each token than they could, more keep no device busy
MIN_STEPS = 20
MOST_EPOCHS = 6  # readings of a text: after more the held-out loss rises again, as measured (docs/training.md)
BETTER = 0.99  # of the loss of a smaller model, which a larger one must promise: the law is not that exact
EVALUATIONS, CHECKPOINTS = 10, 4
SAVING = 200e6  # bytes a second that a checkpoint is hashed, written and synced at
STARTING = 2.0  # seconds from a configuration to its first step, and from the last to the end
FORWARD = 1 / 3  # of a token's time in training, which an evaluation takes

Settings = dict[str, Any]
Build = Callable[[Settings], RunConfig]
PaceOf = Callable[[RunConfig, int], Pace]  # of a configuration and the size of its vocabulary


@dataclass(frozen=True)
class Text:
    """How much there is to learn from: ``tokens`` to train on, ``held_out`` to measure on, of ``vocab_size`` kinds."""

    tokens: int
    held_out: int
    vocab_size: int


@dataclass(frozen=True)
class Budget:
    """A run that ends in time. ``seconds`` are those of training, evaluations and checkpoints together; ``losses`` what
    was expected of each size that was timed, by its parameters."""

    config: RunConfig
    model: ModelConfig
    text: Text
    step_seconds: float
    seconds: float
    losses: dict[int, float]

    @property
    def tokens(self) -> int:
        """Tokens the run reads, again and again perhaps."""
        return self.config.steps * self.config.batch_size * self.model.context_length

    @property
    def epochs(self) -> float:
        return self.tokens / self.text.tokens


def allocate(
    left: Callable[[], float], text: Text, build: Build, pace: PaceOf, free: float, at_once: int = 8192
) -> Budget:
    """The run whose loss should be lowest after the seconds that are ``left``, on a device with ``free`` bytes of
    memory, computing up to ``at_once`` tokens together. It takes less time where the text has no more to teach.

    ``build`` makes a configuration of settings by dotted path, and may insist on others; ``pace`` times it.

    Raises:
        ValueError: the time or the text is too short for any run, or no model fits the memory.
    """
    if text.tokens < 1000 or text.held_out < 65:
        raise ValueError(
            f"the text has {text.tokens:,} tokens to train on and {text.held_out:,} to measure on, too few to learn "
            "from: give at least some 20 KB"
        )
    losses: dict[int, float] = {}
    chosen: Settings = {}
    for rung in LADDER:
        suggested = fitted(settings(rung, at_once / 4, text, at_once), text, build, free)
        if suggested is None:
            break
        config = build(suggested)
        model = config.model.build_config(text.vocab_size)
        if model.num_parameters in losses:
            break
        tokens = config.rows * model.context_length
        a_token = pace(config, text.vocab_size).step(model.num_layers, tokens) / tokens
        tokens_in_time = min(max(1.0, left() / a_token), MOST_EPOCHS * text.tokens)
        loss = expected_loss(model.num_parameters, tokens_in_time, text.tokens)
        pays = not losses or loss < BETTER * min(losses.values())
        losses[model.num_parameters] = loss
        if not pays:
            break
        chosen = settings(rung, tokens_in_time / STEPS, text, at_once)
    final = fitted(chosen, text, build, free) if chosen else None
    if final is None:
        raise ValueError(f"no model fits {free / 2**30:.1f} GiB of free memory: close other programs")
    return in_time(left, final, text, build, pace, losses)


def in_time(
    left: Callable[[], float], chosen: Settings, text: Text, build: Build, pace: PaceOf, losses: dict[int, float]
) -> Budget:
    """The budget of settings that lack only the steps."""
    config = build(chosen)
    model = config.model.build_config(text.vocab_size)
    measured = pace(config, text.vocab_size)
    tokens = config.rows * model.context_length
    step = measured.step(model.num_layers, tokens, config.batch_size // config.rows)
    windows = min(config.evaluation.windows, text.held_out // model.context_length)
    evaluation = FORWARD * windows * model.context_length * measured.token(model.num_layers)
    checkpoint = 12 * model.num_parameters / SAVING
    around = STARTING + EVALUATIONS * evaluation + CHECKPOINTS * checkpoint
    seconds = left()
    enough = MOST_EPOCHS * text.tokens // (config.batch_size * model.context_length)
    steps = min(int((seconds - around) / step), enough)
    if steps < MIN_STEPS:
        raise ValueError(
            f"{seconds:.0f} s are left for {max(0, steps)} steps of {step:.2g} s each, too few to learn from: "
            "give more --minutes, or a smaller model or batch"
        )
    shares = {"evaluation.every": -(-steps // EVALUATIONS), "checkpoint.every": -(-steps // CHECKPOINTS)}
    final = build({**chosen, "steps": steps, **shares})
    return Budget(final, model, text, step, around + steps * step, losses)


def fitted(suggested: Settings, text: Text, build: Build, free: float) -> Settings | None:
    """The settings with as many windows at once as half of the memory holds; None if it does not hold one."""
    rows = suggested["micro_batch"]
    while rows:
        suggested = {**suggested, "micro_batch": rows}
        config = build(suggested)
        model = config.model.build_config(text.vocab_size)
        memory = training_memory(
            model, config.precision, config.rows, model.context_length, optimizer=config.optimizer.name
        )
        if sum(memory.values()) <= free / 2:
            return suggested
        rows //= 2
    return None


def settings(rung: tuple[int, int, int], batch_tokens: float, text: Text, at_once: int) -> Settings:
    """The settings of a model of the ladder that learns from about ``batch_tokens`` at once.

    The recipe is the demo's. A batch is a power of two of tokens in 16 windows or more, and a small share of the text.
    """
    layers, width, heads = rung
    tokens = power_of_two(min(max(batch_tokens, 512), text.tokens / 4, 2**19))
    context = power_of_two(min(max(tokens / 16, 64), 1024, text.held_out - 1))
    return {
        "model.num_layers": layers,
        "model.emb_dim": width,
        "model.num_heads": heads,
        "model.context_length": context,
        "model.zero_residual": True,
        "batch_size": max(1, tokens // context),
        "micro_batch": max(1, min(tokens, at_once) // context),
        "optimizer.name": "muon",
        "optimizer.lr": 3e-3 if width < 512 else 2e-3,
        "schedule.name": "wsd",
        "schedule.cooldown": 0.5,
        "schedule.floor": 0.05,
    }


def power_of_two(number: float) -> int:
    """The largest power of two that is not greater."""
    return 2 ** (int(number).bit_length() - 1)
