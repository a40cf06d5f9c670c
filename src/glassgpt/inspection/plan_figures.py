"""All figures of a plan in one dictionary, what ``glassgpt plan --json`` prints and its picture shows."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from glassgpt.inspection.plan import (
    MIB,
    Dtype,
    block_parameters,
    generation_memory,
    parameters,
    training_memory,
)
from glassgpt.model.config import ModelConfig
from glassgpt.model.flops import forward_flops, training_flops
from glassgpt.training.accelerators import GPT3_FLOPS, YEAR, Accelerator, accelerators


@dataclass(frozen=True)
class Setup:
    """What is planned: a model and how it is trained."""

    name: str
    config: ModelConfig
    batch: int
    context: int
    dtype: Dtype
    tokens: float
    micro_steps: int = 1
    optimizer: Literal["adamw", "muon"] = "adamw"


def figures(setup: Setup, known: Mapping[str, Accelerator], utilization: float) -> dict[str, Any]:
    """Every figure of the plan, ready for JSON; memory in bytes, time in seconds."""
    config, context = setup.config, setup.context
    flops = setup.tokens * training_flops(config, context, causal=False)
    training = total(training_memory(config, setup.dtype, setup.batch, context, setup.micro_steps, setup.optimizer))
    generation = total(generation_memory(config, setup.dtype, setup.batch, context))
    return {
        "model": {"name": setup.name, **config.model_dump()},
        "parameters": total(parameters(config)),
        "block_parameters": total(block_parameters(config)),
        "batch": setup.batch,
        "context": context,
        "dtype": setup.dtype,
        "micro_steps": setup.micro_steps,
        "optimizer": setup.optimizer,
        "training_memory": training,
        "generation_memory": generation,
        "forward_flops": total(forward_flops(config, context)),
        "forward_flops_full": total(forward_flops(config, context, causal=False)),
        "training_flops": training_flops(config, context),
        "training_flops_full": training_flops(config, context, causal=False),
        "training_flops_rule": 6 * config.num_parameters,
        "training": {"tokens": setup.tokens, "flops": flops, "utilization": utilization},
        "accelerators": [
            {
                "key": key,
                "name": row.name,
                "memory": row.memory_bytes,
                "peak": row.peak(setup.dtype),
                "peak_dtype": row.multiplies(setup.dtype),
                "training_share": training["total"] / row.memory_bytes,
                "generation_share": generation["total"] / row.memory_bytes,
                "seconds": row.seconds(flops, setup.dtype, utilization),
            }
            for key, row in known.items()
        ],
        "chapter": chapter(config),
    }


def chapter(config: ModelConfig) -> dict[str, Any]:
    """The figures of the book's chapter 4 that belong to this model, beside ours where the text rounds or assumes."""
    found: dict[str, Any] = {}
    is_books = not config.tied_head and not config.qkv_bias
    if is_books or config.emb_dim == 2048:
        found["matrix_2048"] = 2048**2
    if is_books:
        found["parameters"] = config.num_parameters
        found["parameters_tied"] = config.num_parameters - parameters(config)["head"]
        found["mebibytes_float32"] = round(4 * config.num_parameters / MIB, 2)
    if config.num_parameters == ModelConfig.named("gpt3-175b").num_parameters:
        found["gpt3_flops"] = GPT3_FLOPS
        found["gpt3_years"] = [
            {
                "name": row.name,
                "text_years": row.chapter_years,
                "implied_rate": GPT3_FLOPS / (row.chapter_years * YEAR),
                "text_rate": row.chapter_rate * 1e12,
                "years": GPT3_FLOPS / (row.chapter_rate * 1e12 * YEAR),
            }
            for row in accelerators().values()
            if row.chapter_years is not None and row.chapter_rate is not None
        ]
    return found


def total(parts: dict[str, int]) -> dict[str, int]:
    """The same figures with their sum."""
    return {**parts, "total": sum(parts.values())}
