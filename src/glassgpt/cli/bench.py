"""``glassgpt bench``: how fast this machine writes with a model. The measuring is in inspection/."""

from __future__ import annotations

from dataclasses import fields
from statistics import median
from typing import TYPE_CHECKING, Annotated, Any, Literal

from cyclopts import Parameter
from cyclopts.validators import Number

from glassgpt.cli.options import Precision, UsageError, console, print_json, progress

if TYPE_CHECKING:
    from glassgpt.inspection.pace import Round

Count = Annotated[int, Parameter(validator=Number(gte=1))]
MOST_PROMPT, MOST_NEW = 128, 64  # tokens, unless half and a quarter of the context are less


def bench(
    what: Literal["generate"],
    source: str = "classics",
    /,
    *,
    random_weights: bool = False,
    precision: Precision | None = None,
    batch: str = "1",
    prompt_tokens: Count | None = None,
    new_tokens: Count | None = None,
    rounds: Count = 5,
    device: str = "cpu",
    json: bool = False,
) -> None:
    """Measure how fast a model writes on this machine.

    Prompts of random tokens are read, then continued with the likeliest tokens; what is shown is the median of some
    rounds and their range, after one that warms up. The memory limit is how fast this machine adds up a large array.

    Args:
        what: generate.
        source: A run, a model directory, a hub id, classics, or gpt2, gpt2-medium, gpt2-large, gpt2-xl.
        random_weights: Takes only the shape of a published size, without its weights: as fast, and nothing is
            downloaded.
        precision: The numbers that matrices are kept in. By default those of a quantized directory, float32 for any
            other model.
        batch: How many texts are written together; several numbers such as 1,16 are measured one after another.
        prompt_tokens: Tokens that are read first: 128 by default, or half the context.
        new_tokens: Tokens that each text gets: 64 by default, or a quarter of the context.
        rounds: How many times each is measured.
        device: Where the model computes: cpu, or an accelerator such as cuda.
        json: Prints machine, model and every round as JSON.
    """
    batches = numbers(batch)
    with console(stderr=True).status(f"loading {source}"):
        from glassgpt.generation.loading import device_named, load_in, random_in
        from glassgpt.inspection.machine import machine, read_rate
        from glassgpt.inspection.pace import Pace, bytes_a_pass
        from glassgpt.model.config import ModelConfig
        from glassgpt.quantization.precision import precision_of
        from glassgpt.training.memory import peak_memory
        from glassgpt.weights.source import find

        if random_weights:
            model = random_in(ModelConfig.named(source), precision, device)
        else:
            model = load_in(find(source), precision, device)
        context, target = model.config.context_length, device_named(device)
        about = machine(target)  # its load before this adds to it
        num_read = prompt_tokens or min(MOST_PROMPT, context // 2)
        num_new = new_tokens or min(MOST_NEW, context // 4)
        paces = [Pace(model, size, num_read, num_new) for size in batches]
    laps: list[list[Round]] = [[] for _ in paces]
    with progress("measuring", len(paces) * (1 + rounds)) as update:
        for number in range((1 + rounds) * len(paces)):  # each pace in turn: what disturbs one disturbs all
            pace, its = paces[number % len(paces)], laps[number % len(paces)]
            its.append(pace.round())
            update(number + 1, f"batch {pace.batch}: {its[-1].decode:,.1f} tokens/s")
    memory = peak_memory(target)  # before what follows takes some
    size, rate = bytes_a_pass(model), read_rate(target)
    result = {
        "machine": about,
        "model": source,
        "weights": "random" if random_weights else "stored",
        "precision": precision_of(model),
        "parameters": model.config.num_parameters,
        "prompt_tokens": num_read,
        "new_tokens": num_new,
        "weight_bytes": size,
        "read_bytes_per_second": rate,
        "peak_memory_bytes": memory,
        "batches": [summary(pace.batch, its[1:], size, rate) for pace, its in zip(paces, laps, strict=True)],
    }
    if json:
        print_json(result)
    else:
        show(result)


def numbers(text: str) -> list[int]:
    """The batch sizes in ``1,16``.

    Raises:
        UsageError: it is no list of positive numbers.
    """
    parts = [part.strip() for part in text.split(",")]
    if not all(part.isdecimal() and int(part) > 0 for part in parts):
        raise UsageError(f"--batch is {text!r}, expected numbers from 1 on such as 1,16")
    return [int(part) for part in parts]


def summary(batch: int, laps: list[Round], size: int, limit: float) -> dict[str, Any]:
    """Every figure of a batch as its median, its range and all rounds. A pass reads the weights, ``size`` bytes, once
    for the batch; memory gives at most ``limit`` bytes a second."""
    figures = {field.name: spread([getattr(lap, field.name) for lap in laps]) for field in fields(laps[0])}
    rate = figures["decode"]["median"] / batch * size
    return {"batch": batch, **figures, "weight_bytes_per_second": rate, "share_of_read_limit": rate / limit}


def spread(values: list[float]) -> dict[str, Any]:
    return {"median": median(values), "range": [min(values), max(values)], "rounds": values}


def show(result: dict[str, Any]) -> None:
    """Prints machine and model, and a table with a row for each batch."""
    from rich.table import Table

    about, out = result["machine"], console()
    for line in (
        f"{about['processor']}, {about['threads']} threads, load {about['load']:.2f}, {about['system']}",
        f"glassgpt {about['glassgpt']}, torch {about['torch']}, python {about['python']}",
        f"{result['model']}, {result['weights']} weights, {result['precision']}: {result['parameters']:,} parameters",
        f"a pass reads {result['weight_bytes'] / 1e6:,.1f} MB, memory gives "
        f"{result['read_bytes_per_second'] / 1e9:,.1f} GB/s",
        f"{result['prompt_tokens']} prompt and {result['new_tokens']} new tokens; median (range)\n",
    ):
        out.print(line, markup=False, soft_wrap=True)
    table = Table(box=None, padding=(0, 2, 0, 0), pad_edge=False)
    for heading in ("batch", "first token\nms", "prefill\ntokens/s", "decode\ntokens/s", "weights\nGB/s", "of\nlimit"):
        table.add_column(heading, justify="right")
    for row in result["batches"]:
        table.add_row(
            str(row["batch"]),
            shown(row["first_token"], 1000),
            shown(row["prefill"]),
            shown(row["decode"]),
            f"{row['weight_bytes_per_second'] / 1e9:,.1f}",
            f"{row['share_of_read_limit']:.0%}",
        )
    out.print(table)
    out.print(f"\npeak memory {result['peak_memory_bytes'] / 1e6:,.0f} MB")


def shown(figure: dict[str, Any], factor: float = 1.0) -> str:
    middle, low, high = (factor * value for value in (figure["median"], *figure["range"]))
    digits = 0 if high >= 100 else 1
    return f"{middle:,.{digits}f} ({low:,.{digits}f}-{high:,.{digits}f})"
