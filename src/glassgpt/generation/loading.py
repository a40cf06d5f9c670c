"""A stored model made ready to generate and to score: its matrices in one precision, and the kernels for them."""

from __future__ import annotations

from pathlib import Path

from glassgpt.model.gpt import GPT
from glassgpt.quantization.precision import Precision, use_kernels, use_precision
from glassgpt.weights.directory import load_model
from glassgpt.weights.formats import open_model
from glassgpt.weights.quantized import load_quantized, scheme_of


def load_in(directory: Path, precision: Precision | None) -> GPT:
    """The model in a directory, its matrices in ``precision``: by default as a quantized directory stores them, and
    float32 from any other.

    Raises:
        ValueError: a file is damaged, there is no such precision, or the matrices are stored in other integers.
    """
    scheme = scheme_of(directory)
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
