"""Linear layers for few rows, as in generation: our own product, which reads each weight once at the speed of memory.

The twin of every layer is its ``many``, which is also what it does with more rows, with gradients, on other devices,
and where there is no compiled library.

R rows, I in, O out
"""

from __future__ import annotations

import ctypes
from abc import abstractmethod
from enum import IntEnum

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from glassgpt.kernels import onednn
from glassgpt.kernels.compiled import library
from glassgpt.kernels.onednn import OneDnnLinear, TiedHead
from glassgpt.model.gpt import GPT

PIECE = 4096  # rows of the output layer that are converted at a time, while they fit the processor's cache


MOST_ROWS = 64  # from where PyTorch is as fast; a batch of as many sequences gets each the logits it gets alone


class Storage(IntEnum):
    """How a weight matrix is stored; the layouts are described in native/matrix.h."""

    FLOAT32 = 0
    BFLOAT16 = 1
    INT8 = 2
    INT4 = 3


class Matrix(ctypes.Structure):
    """A stored weight matrix and its bias as the library sees them. Whoever makes one keeps the tensors alive."""

    _fields_ = [
        ("storage", ctypes.c_int64),
        ("out", ctypes.c_int64),
        ("in_", ctypes.c_int64),
        ("group", ctypes.c_int64),
        ("values", ctypes.c_void_p),
        ("scales", ctypes.c_void_p),
        ("bias", ctypes.c_void_p),
    ]


MatrixFields = tuple[int, ...]  # of a Matrix, in order

BLOCK = 128  # inputs that share a scale once rounded


class FewRows(nn.Module):
    """A linear layer that computes up to ``most`` rows by the library and more by ``many``, its twin."""

    most = MOST_ROWS

    @abstractmethod
    def many(self, x: Tensor) -> Tensor:
        """The same product by PyTorch, for any number of rows."""

    @abstractmethod
    def matrix(self) -> MatrixFields:
        """The fields of ``Matrix``: how and where the weights lie at this moment."""

    def forward(self, x: Tensor) -> Tensor:
        if not is_for_library(x, self.most):
            return self.many(x)
        return product(x, Matrix(*self.matrix()))


def is_for_library(x: Tensor, most: int) -> bool:
    """Whether the library computes these inputs: few, float32, on the CPU, without gradients."""
    return (
        x.dtype == torch.float32
        and 0 < x.numel() <= most * x.shape[-1]
        and x.device.type == "cpu"
        and not torch.is_grad_enabled()
        and library() is not None
    )


def product(x: Tensor, matrix: Matrix, lib: ctypes.CDLL | None = None) -> Tensor:
    """x (..., I) times a stored matrix plus its bias: (..., O)."""
    lib, x = lib or library(), x.contiguous()
    assert lib is not None
    y = x.new_empty(*x.shape[:-1], matrix.out)
    num_rows = x.numel() // matrix.in_
    lib.glassgpt_product(ctypes.byref(matrix), x.data_ptr(), num_rows, y.data_ptr(), torch.get_num_threads())
    return y


def rounded(x: Tensor) -> Tensor:
    """x (..., I) as products with weights of integers take it: every block of inputs is integers of 16 bits times one
    float32 scale, so that the library adds up integers, exactly and in any order."""
    blocks = F.pad(x, (0, -x.shape[-1] % BLOCK)).unflatten(-1, (-1, BLOCK))
    scales = blocks.abs().amax(-1, keepdim=True) / 32767
    whole = (blocks * torch.where(scales > 0, scales.reciprocal(), 0.0)).round()
    return (whole * scales).flatten(-2)[..., : x.shape[-1]]


class FloatLinear(FewRows, OneDnnLinear):  # pyrefly: ignore[inconsistent-inheritance] - forward, x or input
    """An nn.Linear with float32 or bfloat16 weights; inputs, outputs and bias stay float32."""

    def many(self, x: Tensor) -> Tensor:
        if x.dtype == self.weight.dtype:
            return OneDnnLinear.forward(self, x)
        return mixed(x, self.weight, self.bias)

    def matrix(self) -> MatrixFields:
        return float_matrix(self.weight, self.bias)


class FloatHead(FewRows, TiedHead):  # pyrefly: ignore[inconsistent-inheritance] - forward, x or hidden
    """The output layer of a tied model, with the token embedding's float32 or bfloat16 weights."""

    def many(self, x: Tensor) -> Tensor:
        weight = self.embedding[0].weight
        if x.dtype == weight.dtype:
            return TiedHead.forward(self, x)
        # Logits are not rounded to bfloat16: of a large one it would keep no digit behind the point.
        return torch.cat([onednn.faster_linear(x, rows.to(x.dtype)) for rows in weight.split(PIECE)], dim=-1)

    def matrix(self) -> MatrixFields:
        return float_matrix(self.embedding[0].weight, None)


def mixed(x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    """The product in the weight's dtype; the rest, and the result, in the input's."""
    y = F.linear(x.to(weight.dtype), weight)
    return y.to(x.dtype) if bias is None else y + bias


def float_matrix(weight: Tensor, bias: Tensor | None) -> MatrixFields:
    storage = {torch.float32: Storage.FLOAT32, torch.bfloat16: Storage.BFLOAT16}[weight.dtype]
    assert weight.is_contiguous()
    return storage, *weight.shape, 0, weight.data_ptr(), 0, 0 if bias is None else bias.data_ptr()


def use_few_rows(model: GPT) -> None:
    """Gives every linear layer of a GPT on the CPU, and its head, the product for few rows; parameters stay."""
    for parent in list(model.modules()):
        for name, child in list(parent.named_children()):
            if isinstance(child, nn.Linear) and type(child) in (nn.Linear, OneDnnLinear):
                with torch.device("meta"):
                    fast = FloatLinear(child.in_features, child.out_features, bias=child.bias is not None)
                fast.weight, fast.bias = child.weight, child.bias
                setattr(parent, name, fast)
    if model.head is None or type(model.head) is TiedHead:
        model.head = FloatHead(model.token_embedding)
