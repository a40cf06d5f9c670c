"""``glassgpt plan``: what a model takes before it exists. The arithmetic and the picture are in inspection/."""

from __future__ import annotations

from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from cyclopts import Parameter
from cyclopts.validators import Number

from glassgpt.cli.options import UsageError, console, did_you_mean, print_json
from glassgpt.inspection.anchors import expected_utilization
from glassgpt.inspection.plan import Dtype
from glassgpt.inspection.plan_figures import Setup, figures
from glassgpt.inspection.scale import Cluster, scaled
from glassgpt.model.config import ALIASES, SIZES, ModelConfig
from glassgpt.parallel.config import ParallelConfig
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
    utilization: Annotated[float | None, Parameter(validator=Number(gt=0, lte=1))] = None,
    optimizer: Literal["adamw", "muon"] | None = None,
    micro_steps: Count = None,
    here: bool = False,
    gpus: Count = None,
    layout: Literal["ddp", "fsdp"] | None = None,
    tensor: Count = None,
    link: Annotated[float, Parameter(validator=Number(gt=0))] = 50.0,
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
        utilization: Share of the peak rate that training reaches. Default: what runs of this size were measured at.
        optimizer: adamw or muon. Default: the run's, or adamw.
        micro_steps: Micro-batches of a step. Default: the run's, or 1.
        here: Also time the parts of a step on this machine, some seconds, and predict speed and memory of a run.
        gpus: Also estimate a step on so many of the accelerator (default: h100), eight to a machine.
        layout: ddp or fsdp, what the GPUs do with the model. Default: the run's, or ddp.
        tensor: GPUs that share each matrix; needs fsdp. Default: the run's, or 1.
        link: GB/s that a GPU sends to other machines.
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
        optimizer=optimizer or chosen.optimizer,
        micro_steps=micro_steps or chosen.micro_steps,
    )
    if setup.context > setup.config.context_length:
        raise UsageError(f"--context {context} does not fit: {model} holds {setup.config.context_length} tokens")
    share = utilization or expected_utilization(setup.config.num_parameters)
    planned = figures(setup, known, share)
    if gpus is not None:
        device = known["h100" if accelerator is None else accelerator.lower()]
        parallel = ParallelConfig(data=layout or ("fsdp" if tensor else "ddp"), tensor=tensor or 1)
        planned["scale"] = scaled(setup, Cluster(device, gpus, parallel, between=link * 1e9), share)
    if here:
        planned["here"] = predicted(setup)
    if json:
        print_json(planned)
    else:
        from glassgpt.inspection.plan_picture import Picture

        console().print(Picture(planned))


def predicted(setup: Setup) -> dict[str, Any]:
    """What a run of the setup would do on this machine."""
    from glassgpt.inspection.prediction import predict
    from glassgpt.kernels.memory import keep_freed_memory
    from glassgpt.training.config import ModelShape, OptimizerConfig, RunConfig

    names = ModelShape.model_fields.keys() & type(setup.config).model_fields.keys()
    shape = setup.config.model_dump(include=names) | {"context_length": setup.context}
    run = RunConfig(
        batch_size=setup.batch * setup.micro_steps,
        micro_batch=setup.batch,
        precision=setup.dtype,
        model=ModelShape(**shape),
        optimizer=OptimizerConfig(name=setup.optimizer),
    )
    keep_freed_memory()  # as glassgpt train does
    found = predict(run, setup.config.vocab_size)
    return {
        **asdict(found),
        "step_seconds": found.step_seconds,
        "tokens_per_second": found.tokens_per_second,
        "memory": found.memory,
        "seconds": setup.tokens / found.tokens_per_second,
        "formula": found.formula,
    }


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
        micro_steps, optimizer = run.batch_size // run.rows, run.optimizer.name
        return Setup(model, config, run.rows, config.context_length, run.precision, tokens, micro_steps, optimizer)
    if path.exists():
        from glassgpt.weights.directory_files import load_config
        from glassgpt.weights.source import find

        is_in_model = path.is_file() and path.with_name("config.json").is_file()
        config = load_config(path.parent if is_in_model else find(path)).model_copy(update=changes)
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
