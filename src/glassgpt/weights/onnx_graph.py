"""The model as an ONNX graph with a cache, traced from outside: the model is called with another cache, not changed.

Tracing needs shapes, no numbers: the weights are filled in afterwards, each when it is written.

B batch, T new tokens, P past tokens, L layers, H heads, D head_dim, V vocabulary
"""

from __future__ import annotations

import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensorMode

from glassgpt.model.cache import Cache
from glassgpt.model.config import ModelConfig
from glassgpt.model.gpt import GPT
from glassgpt.weights.export_extra import package
from glassgpt.weights.lazy import LazyTensors
from glassgpt.weights.onnx_weights import PREFIX

INPUTS, OUTPUTS = ("input_ids", "past_k", "past_v"), ("logits", "k", "v")


def exported(config: ModelConfig) -> Any:
    """A model of this shape as torch's ONNXProgram, its weights named but without numbers.

    Traced with two rows, three new tokens and two past ones; batch, new and past are then left open.
    """
    shape = (config.num_layers, 2, config.num_heads, 2, config.head_dim)
    batch, new = torch.export.Dim("batch"), torch.export.Dim("new", max=config.context_length)
    cache = {1: batch, 3: torch.export.Dim("past", min=0)}
    with _quiet(), FakeTensorMode():
        return torch.onnx.export(
            WithCache(GPT(config)).eval(),
            (torch.zeros(2, 3, dtype=torch.long), torch.zeros(shape), torch.zeros(shape)),
            input_names=INPUTS,
            output_names=OUTPUTS,
            dynamic_shapes=({0: batch, 1: new}, cache, cache),
            dynamo=True,
            optimize=False,  # would rename the weights and share equal ones; onnxruntime optimizes when it loads
            verbose=False,
        )


def fill(program: Any, tensors: LazyTensors) -> None:
    """Gives the weights of an exported program their numbers, float32, which are read when the program is saved."""
    ir = package("onnx_ir")
    for name, weight in program.model.graph.initializers.items():
        read = partial(_read, ir, tensors, name.removeprefix(PREFIX))
        weight.const_value = ir.LazyTensor(read, weight.dtype, weight.shape, name=name)


def _read(ir: Any, tensors: LazyTensors, name: str) -> Any:
    return ir.tensor(tensors[name].contiguous())


class WithCache(nn.Module):
    """A model whose cache comes and goes as two tensors of all layers."""

    def __init__(self, model: GPT):
        super().__init__()
        self.model = model

    def forward(self, tokens: Tensor, past_k: Tensor, past_v: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        cache = TensorCache(past_k, past_v)
        logits = self.model(tokens, cast(Cache, cache))
        return (
            logits,
            torch.stack([layer.k for layer in cache.layers]),
            torch.stack([layer.v for layer in cache.layers]),
        )


class TensorCache:
    """What the model asks of a Cache, in operations that ONNX has: it grows by concatenation."""

    def __init__(self, k: Tensor, v: Tensor):
        self.past = k.shape[3]
        self.visible = torch.empty(0)
        self.layers = [TensorLayerCache(self, *layer) for layer in zip(k, v, strict=True)]

    def begin(self, T: int) -> Tensor:
        positions = self.past + torch.arange(T)
        self.visible = torch.arange(self.past + T) <= positions[:, None]  # (T, P + T)
        return positions

    def end(self, T: int) -> None:
        """Nothing to count: each layer's tensors have grown."""


class TensorLayerCache:
    """The keys and values of one layer."""

    def __init__(self, cache: TensorCache, k: Tensor, v: Tensor):
        self.cache, self.k, self.v = cache, k, v

    def append(self, k: Tensor, v: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        self.k, self.v = torch.cat([self.k, k], dim=2), torch.cat([self.v, v], dim=2)
        return self.k, self.v, self.cache.visible


@contextmanager
def _quiet() -> Iterator[None]:
    """Hides what the exporter warns of: its own deprecated calls, axes of equal names, the absence of torchvision."""
    logger = logging.getLogger("torch.onnx")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logger.setLevel(level)
