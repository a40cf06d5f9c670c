"""A stored model made ready to generate and to score: its matrices in one precision, and the kernels for them."""

from __future__ import annotations

import logging
from pathlib import Path

import torch

from glassgpt.model.config import ModelConfig
from glassgpt.model.gpt import GPT, initialize
from glassgpt.quantization.precision import Precision, store, use_kernels
from glassgpt.weights.directory import load_model
from glassgpt.weights.formats import check_finite, open_model
from glassgpt.weights.opened import Opened
from glassgpt.weights.quantized import load_quantized, scheme_of
from glassgpt.weights.untrusted import naming

log = logging.getLogger(__name__)


def load_in(directory: Path, precision: Precision | None, device: str = "cpu", vocab_size: int | None = None) -> GPT:
    """The model in a directory, its matrices in ``precision``: by default as a quantized directory stores them, and
    float32 from any other. On an accelerator a bfloat16 model is all bfloat16, and int8 or int4 matrices only save
    memory: PyTorch makes them floating point for each product.

    Rows of the vocabulary beyond ``vocab_size``, the tokenizer's, are padding: they are cut, so that none is chosen.

    Raises:
        ValueError: a file is damaged or holds NaN, there is no such precision or device, or the matrices are stored in
            other integers.
    """
    target, scheme = device_named(device), scheme_of(directory)
    precision = precision or (scheme.storage if scheme else "float32")
    is_integer = precision in ("int8", "int4")
    if scheme is not None and is_integer and precision != scheme.storage:
        raise ValueError(
            f"{directory} is stored as {scheme.storage}, {precision} was asked for: quantize the original model again"
        )
    is_stored = scheme is not None and is_integer
    model = load_quantized(directory) if is_stored else load_plain(directory, vocab_size)
    with naming(directory):
        for name, tensor in model.state_dict().items():
            check_finite(name, tensor)
    if not is_stored:
        store(model, precision)
    return placed(model, precision, target)


def load_plain(directory: Path, vocab_size: int | None) -> GPT:
    """The model in a directory in float32, with at most ``vocab_size`` rows of its vocabulary."""
    model = load_model(directory) if scheme_of(directory) is None else open_model(directory).build()
    if vocab_size is None or vocab_size >= model.config.vocab_size:
        return model
    log.info("%s: rows %d on of the vocabulary are padding, no token of the tokenizer: cut", directory, vocab_size)
    return Opened.of(model).cut(vocab_size).build()


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
