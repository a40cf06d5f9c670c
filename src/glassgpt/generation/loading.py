"""A stored model made ready to generate and to score: its matrices in one precision, and the kernels for them."""

from __future__ import annotations

from pathlib import Path

import torch

from glassgpt.model.config import ModelConfig
from glassgpt.model.gpt import GPT, initialize
from glassgpt.quantization.precision import Precision, store, use_kernels
from glassgpt.weights.directory import load_model
from glassgpt.weights.formats import open_model
from glassgpt.weights.quantized import load_quantized, scheme_of


def load_in(directory: Path, precision: Precision | None, device: str = "cpu") -> GPT:
    """The model in a directory, its matrices in ``precision``: by default as a quantized directory stores them, and
    float32 from any other. On an accelerator a bfloat16 model is all bfloat16, and int8 or int4 matrices only save
    memory: PyTorch makes them floating point for each product.

    Raises:
        ValueError: a file is damaged, there is no such precision or device, or the matrices are stored in other
            integers.
    """
    target, scheme = device_named(device), scheme_of(directory)
    precision = precision or (scheme.storage if scheme else "float32")
    is_integer = precision in ("int8", "int4")
    if scheme is not None and is_integer and precision != scheme.storage:
        raise ValueError(
            f"{directory} is stored as {scheme.storage}, {precision} was asked for: quantize the original model again"
        )
    if scheme is not None and is_integer:
        model = load_quantized(directory)
    else:
        model = load_model(directory) if scheme is None else open_model(directory).build()
        store(model, precision)
    return placed(model, precision, target)


def random_in(config: ModelConfig, precision: Precision | None, device: str = "cpu") -> GPT:
    """A model of random weights in ``precision``, float32 by default: as fast as a stored one, and writes noise.

    Raises:
        ValueError: there is no such precision or device.
    """
    target, precision = device_named(device), precision or "float32"
    model = initialize(GPT(config), seed=1).eval()
    store(model, precision)
    return placed(model, precision, target)


def placed(model: GPT, precision: Precision, device: torch.device) -> GPT:
    """The model on its device, with the kernels for its matrices."""
    if device.type == "cpu":
        use_kernels(model, precision)
        return model
    return model.to(device, None if precision in ("int8", "int4") else getattr(torch, precision))


def device_named(name: str) -> torch.device:
    """The CPU, or the accelerator of this machine.

    Raises:
        ValueError: the device is not there.
    """
    there = torch.accelerator.current_accelerator() if torch.accelerator.is_available() else None
    kinds = ["cpu", *([there.type] if there else [])]
    if name.split(":")[0] not in kinds:
        raise ValueError(f"device {name!r} is not available here: choose {' or '.join(kinds)}")
    return torch.device(name)
