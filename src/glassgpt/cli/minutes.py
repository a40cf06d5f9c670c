"""``glassgpt train --minutes``: the one dial. Prepares the text, lets the planner choose, and says what it chose."""

from __future__ import annotations

import sys
import time
from math import gcd
from pathlib import Path
from typing import TYPE_CHECKING, Any

from glassgpt.cli.options import UsageError, progress
from glassgpt.cli.settings import resolve
from glassgpt.cli.texts import for_texts

if TYPE_CHECKING:
    from glassgpt.inspection.budget import Budget, Text
    from glassgpt.training.config import RunConfig

CHOSEN = ("steps", "evaluation.every", "checkpoint.every")


class Dial:
    """A number of minutes that began when this object was made."""

    def __init__(self, minutes: float):
        if not minutes > 0:
            raise UsageError(f"--minutes {minutes:g} is no time to train in: give some, such as --minutes 10")
        self.began = time.monotonic()
        self.seconds = 60 * minutes

    @property
    def elapsed(self) -> float:
        return time.monotonic() - self.began

    def choose(self, paths: list[Path], overrides: dict[str, Any], is_alone: bool) -> tuple[RunConfig, Path]:
        """The configuration and directory of a run on the texts that ends in time; ``overrides`` were asked for, and
        stay. ``is_alone`` says that a new run begins, in one process.

        Raises:
            UsageError: something else was asked for that fixes the steps, which follow from the time.
            ValueError: time or text are too short.
        """
        from glassgpt.inspection.budget import allocate
        from glassgpt.kernels.memory import keep_freed_memory
        from glassgpt.parallel.world import World
        from glassgpt.training.calibration import calibrate
        from glassgpt.training.config import RunConfig
        from glassgpt.training.memory import free_memory
        from glassgpt.training.run import find_device
        from glassgpt.training.start import CONFIG, tentative

        if not is_alone or World.from_environment().size > 1:
            raise UsageError("--minutes is for a new run in one process: leave out --resume and --processes, or it")
        if not paths or any(path.suffix == ".toml" or (path / CONFIG).is_file() for path in paths):
            raise UsageError(
                "--minutes chooses the settings itself: name texts, as in glassgpt train my.txt --minutes 10"
            )
        if taken := [name for name in CHOSEN if name in overrides]:
            raise UsageError(f"--minutes decides {taken[0]}: leave out --{taken[0]}, or --minutes")
        base = for_texts(paths)
        config = resolve(RunConfig, None, base | overrides)
        directory = Path("runs") / config.name
        device = find_device(config.device)
        if device.type != "cpu":
            base = base | {"precision": "bfloat16"}

        def build(settings: dict[str, Any]) -> RunConfig:
            if "batch_size" in overrides:
                settings = settings | {"micro_batch": gcd(config.batch_size, settings["micro_batch"])}
            return resolve(RunConfig, None, base | settings | overrides)

        keep_freed_memory()  # as the run will, whose pace is to be measured
        with tentative(directory):
            text = prepared(config, directory)
            with progress("timing models of this machine's size"):
                budget = allocate(
                    lambda: self.seconds - self.elapsed,
                    text,
                    build,
                    calibrate,
                    free_memory(device),
                    at_once=8192 if device.type == "cpu" else 65536,
                )
        self.explain(budget)
        return budget.config, directory

    def explain(self, budget: Budget) -> None:
        """Says on stderr what was chosen and why."""
        from glassgpt.inspection.budget import MOST_EPOCHS

        config, model, text = budget.config, budget.model, budget.text
        sizes = ", ".join(f"{size / 1e6:.2g} M" for size in budget.losses)
        speed = config.batch_size * model.context_length / budget.step_seconds
        early = "; more time would need more text" if budget.epochs > MOST_EPOCHS - 0.1 else ""
        lines = [
            f"model  {model.num_layers} blocks, {model.num_heads} heads, {model.emb_dim} wide: "
            f"{model.num_parameters:,} parameters, of which the lowest loss is expected; timed here: {sizes}",
            f"text   {text.tokens:,} tokens of {text.vocab_size:,} kinds, read {budget.epochs:.1f} times "
            f"(4 are as good as new text, more than {MOST_EPOCHS} are learnt by heart); {text.held_out:,} held out",
            f"batch  {config.batch_size} windows of {model.context_length} tokens; {budget.tokens / 1e6:,.3g} M tokens "
            f"in all, {budget.tokens / model.num_parameters:.2g} a parameter",
            f"steps  {config.steps:,} of {1000 * budget.step_seconds:.3g} ms, {speed:,.0f} tokens/s; "
            f"an evaluation every {config.evaluation.every:,}",
            f"time   {clock(self.elapsed)} for reading and timing, "
            f"{clock(budget.seconds)} for training, evaluations and checkpoints{early}",
        ]
        print(*lines, sep="\n", file=sys.stderr)

    def outcome(self) -> str:
        """How long it took and how far that is from what was asked for."""
        return f"asked for {clock(self.seconds)}, took {clock(self.elapsed)} ({self.elapsed / self.seconds - 1:+.0%})"


def prepared(config: RunConfig, directory: Path) -> Text:
    """Makes tokens of the run's text where the run will look for them, and counts them."""
    from glassgpt.data.shards import Shards
    from glassgpt.inspection.budget import Text
    from glassgpt.tokenizer.tokenizer import Tokenizer
    from glassgpt.training.start import check, find_shards, find_tokenizer

    check(config, directory, resume=False)
    with progress("reading", 1.0) as update:
        shards = find_shards(config.data, directory / "data", lambda done, total, text: update(done / total))
    train, held_out = Shards.open(shards, "train"), Shards.open(shards, "val")
    has_own = (shards / "tokenizer.json").exists()
    tokenizer = Tokenizer.load(shards) if has_own else find_tokenizer(config.data.tokenizer)
    return Text(train.num_tokens, held_out.num_tokens, tokenizer.vocab_size)


def clock(seconds: float) -> str:
    """Minutes and seconds: 9:05."""
    return f"{int(seconds) // 60}:{int(seconds) % 60:02}"
