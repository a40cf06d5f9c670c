"""A stored model made ready to generate and to score: its matrices in one precision, and the kernels for them."""

from __future__ import annotations

from pathlib import Path

import torch

from glassgpt.model.gpt import GPT
from glassgpt.quantization.precision import Precision, use_kernels, use_precision
from glassgpt.weights.directory import load_model
from glassgpt.weights.formats import open_model
from glassgpt.weights.quantized import load_quantized, scheme_of


def load_in(directory: Path, precision: Precision | None, device: str = "cpu") -> GPT:
    """The model in a directory, its matrices in ``precision``: by default as a quantized directory stores them, and
    float32 from any other. On a device other than the CPU all of it is in that precision.

    Raises:
        ValueError: a file is damaged, there is no such precision or device, or the matrices are stored in other
            integers.
    """
    scheme = scheme_of(directory)
    if device != "cpu":
        return load_on(directory, precision or (scheme.storage if scheme else "float32"), device)
    if scheme is not None and precision in (None, scheme.storage):
        model = load_quantized(directory)
        use_kernels(model, scheme.storage)
        return model
    if scheme is not None and precision in ("int8", "int4"):
        raise ValueError(
            f"{directory} is stored as {scheme.storage}, {precision} was asked for: quantize the original model again"
        )
    model = load_model(directory) if scheme is None else open_model(directory).build()
    use_precision(model, precision or "float32")
    return model


def load_on(directory: Path, precision: Precision, device: str) -> GPT:
    """The model in a directory on an accelerator, in float32 or bfloat16.

    Raises:
        ValueError: the device is not there, or does not compute with integers.
    """
    kind = torch.accelerator.current_accelerator() if torch.accelerator.is_available() else None
    if kind is None or torch.device(device).type != kind.type:
        raise ValueError(f"device {device!r} is not available here: choose {kind or 'cpu'}")
    if precision in ("int8", "int4"):
        raise ValueError(
            f"{precision} matrices are computed on the CPU: give precision float32 or bfloat16, or no device"
        )
    model = load_model(directory) if scheme_of(directory) is None else open_model(directory).build()
    return model.to(torch.device(device), getattr(torch, precision))
