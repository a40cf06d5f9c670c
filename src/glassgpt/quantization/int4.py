"""Matrices in four bits: every group of inputs of an output is integers from -8 to 7 times one bfloat16 scale.

O out, I in, G groups of a row
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from glassgpt.kernels.few_rows import MatrixFields, Storage
from glassgpt.model.gpt import GPT
from glassgpt.quantization.int8 import Int8
from glassgpt.quantization.matrix import QuantizedMatrix, quantize

GROUPS = (32, 64, 128)
TILE = 16  # outputs that lie side by side, as many as an AVX-512 register has lanes
WORD = 8  # numbers of four bits in an int32
# What the largest weight of a group may become: the fewer it is cut by, the coarser the others are.
DIVISORS = (7.0, 7.5, 8.0, 8.5, 9.0, 10.0)


def quantize_int4(model: GPT, group: int = 32) -> None:
    """Makes the matrices of all blocks int4, with one scale for every ``group`` inputs. The token embedding and the
    output layer, where four bits cost the most, become int8.

    Raises:
        ValueError: no such group size.
    """
    if group not in GROUPS:
        raise ValueError(f"int4 has no groups of {group}: choose one of {', '.join(map(str, GROUPS))}")
    quantize(model, lambda name, weight: Int4.of(weight, group) if name.startswith("blocks.") else Int8.of(weight))


class Int4(QuantizedMatrix):
    """values (O/16, I/8, 16) int32 of eight inputs each, scales (O/16, G, 16) bfloat16; O and I padded with zeros."""

    @classmethod
    def of(cls, weight: Tensor, group: int) -> Int4:
        """The nearest one to weight (O, I), by the squared error of each group."""
        padded = F.pad(weight.detach().float(), (0, -weight.shape[1] % group))
        numbers, scales = nearest(padded.unflatten(1, (-1, group)))  # (O, G, group), (O, G)
        return cls.stored(numbers.flatten(1)[:, : weight.shape[1]], scales, group)

    @classmethod
    def stored(cls, numbers: Tensor, scales: Tensor, group: int) -> Int4:
        """The matrix of numbers (O, I) from -8 to 7 and scales (O, G)."""
        O, I = numbers.shape
        numbers = F.pad(numbers.int(), (0, -I % group, 0, -O % TILE)).unflatten(1, (-1, WORD))  # (O, I/8, 8)
        words = ((numbers + 8) << shifts(numbers)).sum(-1, dtype=torch.int32)
        return cls(tiled(words), tiled(F.pad(scales.bfloat16(), (0, 0, 0, -O % TILE))), O, I)

    def plain(self) -> tuple[Tensor, Tensor]:
        numbers, scales = self.parts(torch.arange(self.out_features, device=self.values.device))
        return numbers.flatten(-2)[:, : self.in_features], scales

    def rows(self, ids: Tensor) -> Tensor:
        numbers, scales = self.parts(ids)
        return (numbers * scales[..., None].float()).flatten(-2)[..., : self.in_features]

    def parts(self, ids: Tensor) -> tuple[Tensor, Tensor]:
        """The numbers (..., G, group) int8 and scales (..., G) of these rows (...)."""
        words, scales = (tiles[ids // TILE, :, ids % TILE] for tiles in (self.values, self.scales))
        numbers = ((words[..., None] >> shifts(words)) & 15) - 8  # (..., I/8, 8)
        return numbers.to(torch.int8).view(*scales.shape, -1), scales

    @property
    def group(self) -> int:
        return self.values.shape[1] * WORD // self.scales.shape[1]

    def fields(self, bias: Tensor | None) -> MatrixFields:
        values, scales = self.values.data_ptr(), self.scales.data_ptr()
        where = values, scales, 0 if bias is None else bias.data_ptr()
        return Storage.INT4, self.out_features, self.in_features, self.group, *where


def nearest(weight: Tensor) -> tuple[Tensor, Tensor]:
    """Integers from -8 to 7 (..., group) and scales (...) of weight (..., group): of several scales the best one."""
    largest = weight.gather(-1, weight.abs().argmax(-1, keepdim=True))
    scales = torch.zeros_like(largest, dtype=torch.bfloat16)
    error = torch.full_like(largest, torch.inf)
    for divisor in DIVISORS:
        tried = (-largest / divisor).bfloat16()
        difference = (integers(weight, tried) * tried.float() - weight).square().sum(-1, keepdim=True)
        scales = torch.where(difference < error, tried, scales)
        error = torch.minimum(difference, error)
    return integers(weight, scales).int(), scales.squeeze(-1)


def integers(weight: Tensor, scales: Tensor) -> Tensor:
    return (weight / scales.float()).round().clamp(-8, 7).nan_to_num_()  # a group of zeros has scale 0


def tiled(rows: Tensor) -> Tensor:
    """(O, n) as (O/16, n, 16)."""
    return rows.unflatten(0, (-1, TILE)).transpose(1, 2).contiguous()


def shifts(like: Tensor) -> Tensor:
    """Where the eight numbers of a word begin: neighbours in its two halves, as products of int16 take them."""
    return torch.tensor([0, 16, 4, 20, 8, 24, 12, 28], dtype=torch.int32, device=like.device)
