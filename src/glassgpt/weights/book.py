"""The state dict of the book's GPTModel from and to ours. Knows the book's names, not its classes."""

from __future__ import annotations

import re
from collections.abc import Mapping

import torch
from torch import Tensor

from glassgpt.model.config import ModelConfig
from glassgpt.model.gpt import GPT
from glassgpt.weights.lazy import LazyTensors
from glassgpt.weights.names import BOOK
from glassgpt.weights.translate import read_lazily, write_lazily

MASK = re.compile(r"trf_blocks\.\d+\.att\.mask")


def from_book(state: Mapping[str, Tensor], config: ModelConfig) -> LazyTensors:
    """The state dict of ``GPT(config)`` from that of the book's GPTModel.

    A tied configuration takes a book model whose output layer equals its token embedding.

    Raises:
        ValueError: tensors are missing, unexpected, misshapen, or the output layer is not the tied one.
    """
    tensors = LazyTensors.of(state).only(name for name in state if not MASK.fullmatch(name))
    if config.tied_head and "out_head.weight" in tensors:
        remedy = "load these weights with tied_head=False"
        require_tied(tensors["out_head.weight"], tensors.get("tok_emb.weight"), "out_head.weight", remedy)
        tensors = tensors.without("out_head.weight")
    return read_lazily(BOOK, tensors, config)


def to_book(model: GPT) -> dict[str, Tensor]:
    """The state dict that the book's GPTModel of the same size loads, causal masks and output layer included."""
    return dict(as_book(LazyTensors.of(model.state_dict()), model.config))


def as_book(ours: LazyTensors, config: ModelConfig) -> LazyTensors:
    """The same, each tensor when it is asked for."""
    names = {name: name for name in ours} | ({"head.weight": "token_embedding.weight"} if config.tied_head else {})
    T = config.context_length
    mask = torch.triu(torch.ones(T, T), diagonal=1)
    masks = {f"trf_blocks.{layer}.att.mask": mask for layer in range(config.num_layers)}
    return write_lazily(BOOK, ours.renamed(names), config).joined(masks)


def require_tied(head: Tensor, embedding: Tensor | None, name: str, remedy: str) -> None:
    """Raises ValueError, which ends with what to do, unless an output layer repeats the token embedding."""
    if embedding is None or head.shape != embedding.shape or not torch.equal(head, embedding):
        raise ValueError(f"{name} differs from the token embedding: {remedy}")
