"""Matrices in eight bits: every row (an output) is integers from -127 to 127 times one float32 scale.

O out, I in
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from glassgpt.kernels.few_rows import MatrixFields, Storage
from glassgpt.model.gpt import GPT
from glassgpt.quantization.matrix import QuantizedMatrix, quantize

LARGEST = 127


def quantize_int8(model: GPT) -> None:
    """Makes the matrices of a finished model int8, a quarter of float32's size."""
    quantize(model, lambda _, weight: Int8.of(weight))


class Int8(QuantizedMatrix):
    """values (O, I) int8, scales (O,) float32."""

    @classmethod
    def of(cls, weight: Tensor) -> Int8:
        """The nearest one to weight (O, I)."""
        weight = weight.detach().float()
        scales = weight.abs().amax(1).clamp(min=torch.finfo(torch.float32).tiny) / LARGEST
        return cls.stored((weight / scales[:, None]).round_().to(torch.int8), scales)

    @classmethod
    def stored(cls, numbers: Tensor, scales: Tensor) -> Int8:
        """The matrix of numbers (O, I) int8 and scales (O,)."""
        return cls(numbers.contiguous(), scales.float().contiguous(), *numbers.shape)

    def plain(self) -> tuple[Tensor, Tensor]:
        return self.values, self.scales

    def rows(self, ids: Tensor) -> Tensor:
        return F.embedding(ids, self.values) * F.embedding(ids, self.scales[:, None])

    def fields(self, bias: Tensor | None) -> MatrixFields:
        values, scales = self.values.data_ptr(), self.scales.data_ptr()
        return Storage.INT8, *self.values.shape, 0, values, scales, 0 if bias is None else bias.data_ptr()
