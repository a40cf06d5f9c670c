"""The state dict of the book's GPTModel from and to ours. Knows the book's names, not its classes."""

from __future__ import annotations

import re
from collections.abc import Mapping

import torch
from torch import Tensor

from glassgpt.model.config import ModelConfig
from glassgpt.model.gpt import GPT
from glassgpt.weights.names import BOOK
from glassgpt.weights.translate import read_as, write_as

_MASK = re.compile(r"trf_blocks\.\d+\.att\.mask")


def from_book(state: Mapping[str, Tensor], config: ModelConfig) -> dict[str, Tensor]:
    """The state dict of ``GPT(config)`` from that of the book's GPTModel.

    A tied configuration takes a book model whose output layer equals its token embedding.

    Raises:
        ValueError: tensors are missing, unexpected, misshapen, or the output layer is not the tied one.
    """
    tensors = {name: tensor for name, tensor in state.items() if not _MASK.fullmatch(name)}
    if config.tied_head and "out_head.weight" in tensors:
        require_tied(tensors.pop("out_head.weight"), tensors.get("tok_emb.weight"), "out_head.weight")
    return read_as(BOOK, tensors, config)


def to_book(model: GPT) -> dict[str, Tensor]:
    """The state dict that the book's GPTModel of the same size loads, causal masks and output layer included."""
    config = model.config
    state = dict(model.state_dict())
    state.setdefault("head.weight", state["token_embedding.weight"])
    tensors = write_as(BOOK, state, config)
    T = config.context_length
    mask = torch.triu(torch.ones(T, T), diagonal=1)
    return tensors | {f"trf_blocks.{layer}.att.mask": mask for layer in range(config.num_layers)}


def require_tied(head: Tensor, embedding: Tensor | None, name: str) -> None:
    """Raises ValueError unless an output layer repeats the token embedding."""
    if embedding is None or head.shape != embedding.shape or not torch.equal(head, embedding):
        raise ValueError(f"{name} differs from the token embedding: load these weights with tied_head=False")
