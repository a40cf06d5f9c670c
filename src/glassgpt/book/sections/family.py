"""Exercise 4.2 and the rest of the family computed: settings, parameters and memory of GPT-2 and GPT-3."""

from __future__ import annotations

import math
import re
from itertools import product
from typing import Any

from glassgpt.book import chapter
from glassgpt.book.ledger import read_ledger
from glassgpt.book.sections.shared import Chapter, Values, num_parameters, on_meta
from glassgpt.model.config import SIZES, ModelConfig
from glassgpt.model.gpt import GPT

GPT2_SIZES = "124M", "355M", "774M", "1558M"
LAYOUTS = {"untied": False, "tied": True}
BIASES = {"no-qkv-bias": False, "qkv-bias": True}

# Name and size in table 2.1 of the GPT-3 paper.
GPT3_SIZES = {
    "small": ("GPT-3 Small", "125M"),
    "medium": ("GPT-3 Medium", "350M"),
    "large": ("GPT-3 Large", "760M"),
    "xl": ("GPT-3 XL", "1.3B"),
    "2.7b": ("GPT-3 2.7B", "2.7B"),
    "6.7b": ("GPT-3 6.7B", "6.7B"),
    "13b": ("GPT-3 13B", "13.0B"),
    "175b": ("GPT-3 175B", "175.0B"),
}
# What the table prints and nobody can build: model/config.py says what is built instead.
AS_PRINTED = {"xl": {"n_heads": 24}, "13b": {"emb_dim": 5140}}


def settings(run: Chapter) -> Values:
    """Exercise 4.2: width, depth and heads of the four GPT-2 models."""
    return {f"ch04.exercise-4.2.config.{size}": shape(ModelConfig.named(size)) for size in GPT2_SIZES}


def shape(config: ModelConfig) -> dict[str, int]:
    """A model's width, depth and heads under the book's names."""
    return {
        "emb_dim": config.emb_dim,
        "n_layers": config.num_layers,
        "n_heads": config.num_heads,
        "head_dim": config.head_dim,
    }


def parameters(run: Chapter) -> Values:
    """Exercise 4.2: parameters and float32 memory, counted on the book's GPTModel; tied means without its out_head."""
    got: Values = {}
    for size in GPT2_SIZES:
        for bias, qkv_bias in BIASES.items():
            model = on_meta(chapter.GPTModel, book_config(run, ModelConfig.named(size), qkv_bias))
            for layout, tied in LAYOUTS.items():
                count = num_parameters(model) - (num_parameters(model.out_head) if tied else 0)
                got[f"params.{size}.{layout}.{bias}"] = {"parameters": count, "mb": count * 4 / 2**20}
    return got


def book_config(run: Chapter, config: ModelConfig, qkv_bias: bool) -> dict[str, Any]:
    """The chapter's dictionary for another size."""
    sizes = {key: value for key, value in shape(config).items() if key != "head_dim"}
    return {**run.config, **sizes, "qkv_bias": qkv_bias}


def gpt3(run: Chapter) -> Values:
    """The eight models of the GPT-3 paper, counted on our GPT."""
    got: Values = {}
    for size, (name, paper_size) in GPT3_SIZES.items():
        config = ModelConfig.named(f"gpt3-{size}")
        got[f"gpt3.{size}"] = {
            "paper_name": name,
            "paper_size": paper_size,
            "n_layers": config.num_layers,
            "emb_dim": config.emb_dim,
            "n_heads": config.num_heads,
            "head_dim": config.head_dim,
            **AS_PRINTED.get(size, {}),
            "parameters": num_parameters(on_meta(GPT, config)),
        }
    printed = ModelConfig.named("gpt3-13b", emb_dim=5140, num_heads=1)  # the count does not depend on the heads
    built = ModelConfig.named("gpt3-13b")
    got["gpt3.13b"] |= {"parameters_with_width_5140": printed.num_parameters, "emb_dim_used": built.emb_dim}
    return got


def formula(run: Chapter) -> Values:
    """The ledger's formula, evaluated for every size in its four layouts and compared with models built to count."""
    written = read_ledger()["derived.formula"].expected
    wrong = []
    for size, tied, qkv_bias in product(SIZES, (False, True), (False, True)):
        config = ModelConfig.named(size, tied_head=tied, qkv_bias=qkv_bias)
        settings = {"vocab_size": config.vocab_size, "context_length": config.context_length, **shape(config)}
        values = {letter: settings[written[letter]] for letter in "VTdL"}
        values["b"] = evaluate(written["b"].split(" with ")[0], values) if qkv_bias else 0
        values["o"] = evaluate(written["o"].split(" with ")[0], values) if not tied else 0
        if evaluate(written["formula"], values) != num_parameters(on_meta(GPT, config)):
            wrong.append(size)
    return {"derived.formula": {**written, "formula": f"fails for {wrong}"} if wrong else written}


def evaluate(term: str, values: dict[str, int]) -> int:
    """A sum of products, as the ledger writes it: numbers, letters, + and *, one level of parentheses."""
    if inner := re.search(r"\(([^()]*)\)", term):
        value = evaluate(inner[1], values)
        return evaluate(f"{term[: inner.start()]}{value}{term[inner.end() :]}", values)
    factors = [[factor.strip() for factor in terms.split("*")] for terms in term.split("+")]
    return sum(math.prod(values[factor] if factor in values else int(factor) for factor in terms) for terms in factors)
