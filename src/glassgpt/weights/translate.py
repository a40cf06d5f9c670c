"""State dicts from and to another format's names and layouts, by a table of weights/names. Nothing is ever skipped:
a missing, unexpected or misshapen tensor is refused by name."""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache

import torch
from torch import Tensor

from glassgpt.model.config import ModelConfig
from glassgpt.model.skeleton import skeleton
from glassgpt.weights.lazy import LazyTensors
from glassgpt.weights.names import Foreign


def write_as(table: Mapping[str, Foreign], state: Mapping[str, Tensor], config: ModelConfig) -> dict[str, Tensor]:
    """Our state dict under the table's names, as views where the layout allows it."""
    theirs: dict[str, Tensor] = {}
    for name, ours in state.items():
        entry, layer = _entry(table, name)
        parts = entry.split(ours, config)
        theirs.update({foreign.format(layer): part for foreign, part in zip(entry.names, parts, strict=True)})
    return theirs


def read_as(
    table: Mapping[str, Foreign],
    theirs: Mapping[str, Tensor],
    config: ModelConfig,
    wanted: Mapping[str, Tensor] | None = None,
) -> dict[str, Tensor]:
    """The state dict of ``GPT(config)``, or tensors like ``wanted``, from tensors under the table's names.

    Raises:
        ValueError: tensors are missing, unexpected or of another shape; names all of them (at most eight a kind).
    """
    wanted = blank(config) if wanted is None else wanted
    check(write_as(table, wanted, config), theirs)
    return {name: _joined(table, name, theirs, config) for name in wanted}


def write_lazily(table: Mapping[str, Foreign], ours: LazyTensors, config: ModelConfig) -> LazyTensors:
    """``write_as``, each tensor when it is asked for."""
    homes = {}
    for name in ours:
        entry, layer = _entry(table, name)
        homes.update({foreign.format(layer): (name, entry, i) for i, foreign in enumerate(entry.names)})

    def read(foreign: str) -> Tensor:
        name, entry, i = homes[foreign]
        return entry.split(ours[name], config)[i]

    return LazyTensors(write_as(table, ours.blank, config), read)


def read_lazily(
    table: Mapping[str, Foreign],
    theirs: LazyTensors,
    config: ModelConfig,
    wanted: Mapping[str, Tensor] | None = None,
) -> LazyTensors:
    """``read_as``, each tensor when it is asked for; what does not belong is refused at once."""
    return LazyTensors(read_as(table, theirs.blank, config, wanted), lambda name: _joined(table, name, theirs, config))


def with_qkv_bias(ours: LazyTensors, config: ModelConfig) -> LazyTensors:
    """The tensors of a model with query/key/value bias that computes the same: zeros where ``config`` has none."""
    if config.qkv_bias:
        return ours
    zeros = torch.zeros(3 * config.emb_dim, dtype=ours.blank["token_embedding.weight"].dtype)
    return ours.joined(dict.fromkeys(_qkv_biases(config), zeros))


def without_qkv_bias(ours: LazyTensors, config: ModelConfig) -> LazyTensors:
    """The inverse of ``with_qkv_bias``.

    Raises:
        ValueError: ``config`` has no such bias, but one of them is not zero.
    """
    if config.qkv_bias:
        return ours
    if wrong := [name for name in _qkv_biases(config) if ours[name].any()]:
        raise ValueError(f"{wrong[0]} is not zero, but the configuration has no qkv_bias")
    return ours.without(*_qkv_biases(config))


def blank(config: ModelConfig) -> dict[str, Tensor]:
    """The state dict of ``GPT(config)`` without storage."""
    first = _one_layer(config.model_copy(update={"num_layers": 1}))
    state: dict[str, Tensor] = {}
    block = {name: tensor for name, tensor in first.items() if name.startswith("blocks.0.")}
    for name, tensor in first.items():
        if name not in block:
            state[name] = tensor
        elif name not in state:  # the first block: building hundreds of them would take seconds
            for layer in range(config.num_layers):
                state |= {each.replace(".0.", f".{layer}.", 1): shape for each, shape in block.items()}
    return state


@lru_cache(maxsize=8)
def _one_layer(config: ModelConfig) -> dict[str, Tensor]:
    """The state dict of a skeleton, which readers ask for several times."""
    return skeleton(config).state_dict()


def check(wanted: Mapping[str, Tensor], given: Mapping[str, Tensor]) -> None:
    """Raises ValueError unless both have the same names and shapes."""
    shapes = {name: (tuple(given[name].shape), tuple(wanted[name].shape)) for name in wanted if name in given}
    problems = {
        "missing": [name for name in wanted if name not in given],
        "unexpected": [name for name in given if name not in wanted],
        "misshapen": [f"{name} is {got}, expected {want}" for name, (got, want) in shapes.items() if got != want],
    }
    if any(problems.values()):
        raise ValueError(
            "; ".join(f"{kind}: {_some(names)}" for kind, names in problems.items() if names)
            + ". Check that the configuration belongs to these weights"
        )


def _joined(table: Mapping[str, Foreign], name: str, theirs: Mapping[str, Tensor], config: ModelConfig) -> Tensor:
    entry, layer = _entry(table, name)
    return entry.join([theirs[foreign.format(layer)] for foreign in entry.names], config)


def _qkv_biases(config: ModelConfig) -> list[str]:
    return [f"blocks.{layer}.attention.qkv.bias" for layer in range(config.num_layers)]


def _entry(table: Mapping[str, Foreign], name: str) -> tuple[Foreign, str]:
    """The table's entry for one of our names, and its layer number as text."""
    match name.split("."):
        case ["blocks", layer, *rest]:
            return table[".".join(["blocks", "{}", *rest])], layer
    return table[name], ""


def _some(names: list[str], limit: int = 8) -> str:
    more = f" and {len(names) - limit} more" if len(names) > limit else ""
    return ", ".join(names[:limit]) + more
