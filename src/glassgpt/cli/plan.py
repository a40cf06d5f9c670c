"""``glassgpt plan``: what a model takes before it exists. The arithmetic and the picture are in inspection/."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from cyclopts import Parameter
from cyclopts.validators import Number

from glassgpt.cli.options import UsageError, console, did_you_mean, print_json
from glassgpt.inspection.plan import Dtype
from glassgpt.inspection.plan_figures import Setup, figures
from glassgpt.model.config import ALIASES, SIZES, ModelConfig
from glassgpt.training.accelerators import accelerators

if TYPE_CHECKING:
    from glassgpt.training.config import RunConfig

Count = Annotated[int | None, Parameter(validator=Number(gte=1))]


def plan(
    model: str = "gpt2",
    /,
    *,
    book: bool = False,
    batch: Count = None,
    context: Count = None,
    dtype: Dtype | None = None,
    tokens: Annotated[float | None, Parameter(validator=Number(gt=0))] = None,
    accelerator: str | None = None,
    utilization: Annotated[float, Parameter(validator=Number(gt=0, lte=1))] = 0.4,
    json: bool = False,
) -> None:
    """Show what a model takes before it exists: parameters, memory, FLOPs, training time.

    Nothing is downloaded or built. docs/plan.md has every formula and its source.

    Args:
        model: A published size (gpt2-xl, gpt3-175b, 124M), a run's TOML file, or a model's directory.
        book: The chapter's variant: an output layer of its own, no query, key and value bias.
        batch: Windows computed at once. Default: the run's, or 1.
        context: Tokens in a window. Default: all that the model holds.
        dtype: bfloat16 keeps float32 master weights. Default: the run's, or bfloat16.
        tokens: Tokens to train on, such as 300e9. Default: the run's; for GPT-3 300e9; else 20 a parameter.
        accelerator: Only this one, such as h100. Default: all that are known.
        utilization: Share of the peak rate that training reaches.
        json: Print the figures as JSON.
    """
    chosen = choose(model, book)
    known = accelerators()
    if accelerator is not None:
        if (key := accelerator.lower()) not in known:
            hint = did_you_mean(accelerator, known) or f"choose one of {', '.join(known)}"
            raise UsageError(f"there is no accelerator {accelerator!r}: {hint}")
        known = {key: known[key]}
    setup = replace(
        chosen,
        batch=batch or chosen.batch,
        context=context or chosen.context,
        dtype=dtype or chosen.dtype,
        tokens=tokens or chosen.tokens,
    )
    if setup.context > setup.config.context_length:
        raise UsageError(f"--context {context} does not fit: {model} holds {setup.config.context_length} tokens")
    planned = figures(setup, known, utilization)
    if json:
        print_json(planned)
    else:
        from glassgpt.inspection.plan_picture import Picture

        console().print(Picture(planned))


def choose(model: str, book: bool) -> Setup:
    """The model and the defaults that a name, a run's TOML file or a model's directory stands for."""
    changes = {"tied_head": False, "qkv_bias": False} if book else {}
    path = Path(model)
    if path.suffix == ".toml":
        from glassgpt.cli.settings import resolve
        from glassgpt.training.config import RunConfig

        run = resolve(RunConfig, path, {})
        config = run.model.build_config(vocab_size(run)).model_copy(update=changes)
        tokens = run.steps * run.batch_size * config.context_length
        return Setup(model, config, run.rows, config.context_length, run.precision, tokens)
    if path.exists():
        from glassgpt.weights.directory import load_config
        from glassgpt.weights.source import find

        config = load_config(path.parent if path.is_file() else find(path)).model_copy(update=changes)
    else:
        try:
            config = ModelConfig.named(model, **changes)
        except ValueError as error:
            hint = did_you_mean(model, [*SIZES, *ALIASES]) or f"choose one of {', '.join(SIZES)}, or name a file"
            raise UsageError(f"there is no model {model!r}: {hint}") from error
    is_gpt3 = ALIASES.get(model.lower(), model.lower()).startswith("gpt3")
    tokens = 300e9 if is_gpt3 else 20 * config.num_parameters
    return Setup(model, config, 1, config.context_length, "bfloat16", tokens)


def vocab_size(run: RunConfig) -> int:
    """How many tokens a run's tokenizer will have."""
    if run.data.vocab_size is not None:
        return run.data.vocab_size
    if run.data.tokenizer == "gpt2":
        return ModelConfig().vocab_size
    from glassgpt.tokenizer.tokenizer import Tokenizer

    return Tokenizer.load(Path(run.data.tokenizer)).vocab_size
