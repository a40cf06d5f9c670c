"""In which numbers a finished model keeps its matrices, and the kernels that compute with them: chosen once, by name.

Norms, biases, positions, the cache and the residual stream stay float32 in every precision.
"""

from __future__ import annotations

from typing import Literal, get_args

import torch
from torch import nn

from glassgpt.kernels import onednn
from glassgpt.kernels.arena import use_huge_pages
from glassgpt.kernels.blocks import use_fused_blocks
from glassgpt.kernels.compiled import library
from glassgpt.kernels.few_rows import use_few_rows
from glassgpt.model.gpt import GPT
from glassgpt.quantization.int4 import Int4, quantize_int4
from glassgpt.quantization.int8 import quantize_int8
from glassgpt.quantization.matrix import matrices

Precision = Literal["float32", "bfloat16", "int8", "int4"]
PRECISIONS: tuple[Precision, ...] = get_args(Precision)


def use_precision(model: GPT, precision: Precision) -> None:
    """``store`` and, on the CPU, ``use_kernels``."""
    store(model, precision)
    if model.final_norm.weight.device.type == "cpu":
        use_kernels(model, precision)


def store(model: GPT, precision: Precision) -> None:
    """Stores the matrices of a float32 model in ``precision``, in place.

    Raises:
        ValueError: no such precision.
    """
    match precision:
        case "float32":
            pass
        case "bfloat16":
            narrow(model)
        case "int8":
            quantize_int8(model)
        case "int4":
            quantize_int4(model)
        case _:
            raise ValueError(f"there is no precision {precision!r}: choose one of {', '.join(PRECISIONS)}")


def precision_of(model: GPT) -> Precision:
    """In what a model keeps its matrices."""
    if found := matrices(model).values():
        return "int4" if any(isinstance(matrix, Int4) for matrix in found) else "int8"
    return "bfloat16" if model.token_embedding.weight.dtype == torch.bfloat16 else "float32"


def narrow(model: GPT) -> None:
    """Rounds every matrix but the position embedding to bfloat16."""
    for module in model.modules():
        if isinstance(module, nn.Linear) or module is model.token_embedding:
            assert isinstance(module.weight, nn.Parameter)
            module.weight.data = module.weight.data.to(torch.bfloat16)


def use_kernels(model: GPT, precision: Precision) -> None:
    """Gives a model on the CPU the fast products for the matrices it has; its numbers stay."""
    if precision == "float32" and not onednn.is_available():
        return  # PyTorch's own are the best there are
    use_few_rows(model)
    use_fused_blocks(model)
    use_huge_pages(model)
    library()  # the first on a machine is compiled: better now than in the middle of a text
