"""How one quantized matrix lies in a file, which does not follow how the kernels keep it in memory. Knows no files.

O out, I in, G groups of a row
"""

from __future__ import annotations

from typing import Any, Literal, cast

import torch
import torch.nn.functional as F
from pydantic import BaseModel, ConfigDict, model_validator
from torch import Tensor

from glassgpt.model.gpt import GPT
from glassgpt.quantization.int4 import Int4
from glassgpt.quantization.int8 import Int8
from glassgpt.quantization.matrix import QuantizedMatrix, matrices


class Scheme(BaseModel):
    """The ``quantization_config`` in a config.json: what the matrices of all blocks are; the others are int8.

    int8: values (O, I) int8, scales (O,) float32, one for each output. int4: values (O, I/2) uint8, an even input in
    the low four bits and the next in the high ones, 8 added to each; scales (O, G) bfloat16, one for each ``group``
    inputs of an output.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    quant_method: Literal["glassgpt"] = "glassgpt"
    storage: Literal["int8", "int4"]
    group: Literal[32, 64, 128] | None = None  # of int4, which needs one

    @model_validator(mode="after")
    def _group_belongs_to_int4(self) -> Scheme:
        if (self.storage == "int4") != (self.group is not None):
            raise ValueError("int4 needs a group, int8 has none")
        return self

    @classmethod
    def named(cls, storage: str) -> Scheme:
        """The scheme that int8 or int4 alone stands for."""
        return cls(storage=cast("Any", storage), group=32 if storage == "int4" else None)

    @classmethod
    def of(cls, model: GPT) -> Scheme:
        """The scheme of a quantized model in memory."""
        groups = [matrix.group for matrix in matrices(model).values() if isinstance(matrix, Int4)]
        return cls(storage="int4", group=cast("Any", groups[0])) if groups else cls(storage="int8")

    def group_of(self, name: str) -> int | None:
        """How many inputs of the matrix of this name share a scale; None for int8."""
        return self.group if name.startswith("blocks.") else None

    def quantize(self, name: str, weight: Tensor) -> QuantizedMatrix:
        """The matrix nearest to a plain one (O, I)."""
        group = self.group_of(name)
        return Int8.of(weight) if group is None else Int4.of(weight, group)

    def read(self, name: str, values: Tensor, scales: Tensor, num_inputs: int) -> QuantizedMatrix:
        """The matrix that a file holds as these two tensors."""
        if (group := self.group_of(name)) is None:
            return Int8.stored(values, scales)
        numbers = torch.stack([values & 15, values >> 4], dim=-1).flatten(1)[:, :num_inputs]
        return Int4.stored(numbers.to(torch.int8) - 8, scales, group)

    def blank(self, name: str, O: int, I: int) -> tuple[Tensor, Tensor]:
        """Values and scales of a matrix (O, I), without storage."""
        if (group := self.group_of(name)) is None:
            values, scales = torch.empty(O, I, dtype=torch.int8, device="meta"), torch.empty(O, device="meta")
        else:
            values = torch.empty(O, -(-I // 2), dtype=torch.uint8, device="meta")
            scales = torch.empty(O, -(-I // group), dtype=torch.bfloat16, device="meta")
        return values, scales


def stored(matrix: QuantizedMatrix) -> tuple[Tensor, Tensor]:
    """Values and scales of a matrix as a file holds them."""
    numbers, scales = matrix.plain()
    if isinstance(matrix, Int4):
        pairs = F.pad(numbers + 8, (0, numbers.shape[1] % 2)).to(torch.uint8)
        numbers = pairs[:, ::2] | pairs[:, 1::2] << 4
    return numbers, scales
