"""Two stored models compared: tensor by tensor, by what they do with the same prompts, and in what cannot be stored.

Both are read by their own readers; nothing here knows how a format is written.
"""

from __future__ import annotations

from itertools import takewhile
from pathlib import Path
from typing import Any, NamedTuple

import torch

from glassgpt.weights.behaviour import behaviour, prompts_for, runner
from glassgpt.weights.certificate import Greedy, Logits, TensorLine
from glassgpt.weights.names import BOOK, GGUF, HUGGING_FACE, NANOGPT, OPENAI, Foreign
from glassgpt.weights.opened import Opened
from glassgpt.weights.translate import write_as

NAMES: dict[str, dict[str, Foreign]] = {
    "hf": HUGGING_FACE, "gguf": GGUF, "openai": OPENAI, "book": BOOK, "nanogpt": NANOGPT, "llmc": NANOGPT,
    "quantized": NANOGPT,
}  # fmt: skip

# How far a number may be off once it is stored so, as a share of the largest number of its tensor, and how far the
# logits may be off then, as a share of the largest logit. The second guards against a wrong computation: it is several
# times what rounding alone was seen to do (docs/convert.md).
TOLERANCES = {
    "float64": (0.0, 1e-4), "float32": (0.0, 1e-4), "F32": (0.0, 1e-4),
    "float16": (2**-11, 0.02), "F16": (2**-11, 0.02), "bfloat16": (2**-8, 0.1), "BF16": (2**-8, 0.1),
    "Q8_0": (1 / 127, 0.1), "Q5_0": (1 / 15, 0.5), "Q4_0": (1 / 7, 1.0),
    "int8": (1 / 127, 0.1), "int4": (1 / 4, 1.0),
}  # fmt: skip

# Where a tensor comes from that the source does not store.
TIED = {"head.weight": "token_embedding.weight"}


def compare_tensors(source: Opened, destination: Opened) -> list[TensorLine]:
    """Every tensor of the destination beside what it was made of, two of them in memory at a time."""
    homes, targets = stored_as(source), stored_as(destination)
    lines = []
    for name, tensor in destination.tensors.items():
        origin = name if name in source.tensors else TIED.get(name)
        expected = source.tensors[origin].float() if origin else torch.zeros(tensor.shape)
        dtype, target = destination.facts["dtypes"][name], targets[name]
        tolerance, _ = TOLERANCES[dtype]
        lines.append(
            TensorLine(
                name=name,
                source=homes[origin].names if origin else [],
                destination=target.names,
                shape=target.shape,
                source_dtype=source.facts["dtypes"][origin] if origin else None,
                dtype=dtype,
                transposed=bool(origin) and homes[origin].transposed != target.transposed,
                largest_difference=float((tensor.float() - expected[: len(tensor)]).abs().max()),
                tolerance=tolerance * float(expected.abs().max()),
            )
        )
    return lines


class StoredAs(NamedTuple):
    """A tensor of ours in another format: its names there, the shape of the first, and whether it is transposed."""

    names: list[str]
    shape: list[int]
    transposed: bool


def stored_as(opened: Opened) -> dict[str, StoredAs]:
    """How the format of a model stores each of its tensors."""
    table, found = NAMES.get(opened.format), {}
    for name, tensor in opened.tensors.blank.items():
        theirs = {name: tensor} if table is None else write_as(table, {name: tensor}, opened.config)
        first = next(iter(theirs.values()))
        found[name] = StoredAs(list(theirs), list(first.shape), not first.is_contiguous())
    return found


def compare_behaviour(source: tuple[Path, Opened], destination: tuple[Path, Opened]) -> dict[str, Any]:
    """Logits and greedy continuations of the fixed prompts, one model in memory after the other."""
    config = destination[1].config
    prompts = prompts_for(config)
    before = behaviour(runner(*source), prompts, config)
    after = behaviour(runner(*destination), prompts, config)
    share = max(TOLERANCES[dtype][1] for dtype in destination[1].facts["dtypes"].values())
    largest = float(before.logits.abs().max())
    pairs = zip(before.continuations, after.continuations, strict=True)
    return {
        "logits": Logits(
            largest_difference=float((after.logits - before.logits).abs().max()),
            largest=largest,
            tolerance=share * largest,
        ),
        "greedy": Greedy(
            prompts=prompts.tolist(),
            source=before.continuations,
            destination=after.continuations,
            agreed=sum(agreement(*pair) for pair in pairs),
            of=sum(map(len, before.continuations)),
        ),
    }


def agreement(a: list[int], b: list[int]) -> int:
    """How many tokens two texts have in common before they part."""
    return sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], zip(a, b, strict=True)))


def remarks(source: Opened, destination: Opened) -> list[str]:
    """What one of the two formats cannot say, and how it was handled."""
    before, after = source.config, destination.config
    found = [*source.facts["notes"], *destination.facts["notes"]]
    if after.vocab_size < before.vocab_size:
        last = before.vocab_size - 1
        found.append(f"rows {after.vocab_size} to {last} of the vocabulary are padding, no token of the tokenizer: cut")
    if not before.qkv_bias:
        found.append(
            "it has no query/key/value bias: zeros are stored and it reads as a model that has one"
            if after.qkv_bias
            else "it has no query/key/value bias, and reads so again; where the format wants one, zeros are stored"
        )
    if not before.tied_head:
        found.append("its output layer is not tied to the token embedding: it is stored as a tensor of its own")
    elif not after.tied_head:
        found.append("its output layer is tied to the token embedding: the format wants a copy of it")
    if before.dropout != after.dropout:
        found.append(f"the format does not store dropout: {before.dropout} before, {after.dropout} when read again")
    if before.norm_eps != after.norm_eps:
        found.append(
            f"the format does not store its epsilon: {before.norm_eps} before, {after.norm_eps} when read again"
        )
    if source.tokenizer is not None and destination.tokenizer is None:
        found.append("the format does not store the tokenizer")
    return found
