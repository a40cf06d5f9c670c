"""A quantized model as a directory: integers and scales in ``quantized.safetensors``, the rest under its usual names.

The file's own name keeps readers that do not know it from starting with random weights: they find none.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import torch
from pydantic import ValidationError
from torch import Tensor

from glassgpt.model.config import ModelConfig
from glassgpt.model.gpt import GPT
from glassgpt.model.skeleton import skeleton
from glassgpt.quantization.matrix import QuantizedMatrix, matrices, quantize
from glassgpt.tokenizer.tokenizer import Tokenizer
from glassgpt.weights.directory import description, load_tokenizer
from glassgpt.weights.directory_files import load_config, load_settings
from glassgpt.weights.files import chunks, open_tensors
from glassgpt.weights.formats import Format
from glassgpt.weights.hugging_face_config import QUANTIZED
from glassgpt.weights.lazy import LazyTensors
from glassgpt.weights.names import NANOGPT, Foreign
from glassgpt.weights.opened import Opened, dtypes
from glassgpt.weights.scheme import Scheme, stored
from glassgpt.weights.staging import staged
from glassgpt.weights.translate import blank, read_lazily, write_as
from glassgpt.weights.untrusted import check_floats, first_problem, naming

KEY = "quantization_config"  # of config.json, where other libraries look too
PARTS = ("values", "scales")


def is_matrix(name: str) -> bool:
    """Whether a tensor of ours is a matrix that gets quantized."""
    return name.endswith(".weight") and "norm" not in name and not name.startswith("position")


# Values and scales have the matrix's name before their own, and as many rows in the same order.
TABLE: dict[str, Foreign] = {name: entry for name, entry in NANOGPT.items() if not is_matrix(name)} | {
    f"{name}.{part}": replace(entry, names=(f"{entry.names[0]}.{part}",))
    for name, entry in NANOGPT.items()
    if is_matrix(name)
    for part in PARTS
}


def scheme_of(directory: Path) -> Scheme | None:
    """How a model directory stores its matrices; None where they are plain floating point.

    Raises:
        ValueError: its config.json describes them in a way that is not known here.
    """
    if not (directory / QUANTIZED).is_file():
        return None
    try:
        return Scheme.model_validate(load_settings(directory).get(KEY))
    except ValidationError as error:
        raise ValueError(f"{directory}: config.json: {KEY}: {first_problem(error)}") from None


def load_quantized(directory: Path) -> GPT:
    """The model in a quantized directory, its matrices as they are stored, in evaluation mode.

    Raises:
        ValueError: a file is damaged, or tensors do not belong to the configuration; names the directory.
    """
    with naming(directory):
        found = Stored(directory)
        model = skeleton(found.config)
        model.load_state_dict(dict(found.plain), strict=False, assign=True)  # the matrices follow
        quantize(model, lambda name, _: found.matrix(name))
    return model.eval()


def save_quantized(model: GPT, tokenizer: Tokenizer, directory: Path) -> None:
    """Writes a quantized model as a directory, which appears whole or not at all.

    Raises:
        FileExistsError: ``directory`` exists.
        ValueError: the tokenizer has more tokens than the model.
    """
    tensors: dict[str, Tensor] = dict(model.named_parameters())
    for name, matrix in matrices(model).items():
        tensors |= parts(name, *stored(matrix))
    with staged(Path(directory)) as stage:
        fill(stage, model.config, Scheme.of(model), tensors, tokenizer)


def read(path: Path) -> Opened:
    """The model in a quantized directory, its matrices as the floating-point numbers they stand for."""
    found = Stored(path)
    plain, shapes = found.plain, found.shapes
    tensors = LazyTensors(shapes, lambda name: found.matrix(name).dense() if is_matrix(name) else plain[name])
    integers = {name: "int4" if found.scheme.group_of(name) else "int8" for name in shapes if is_matrix(name)}
    kinds = dtypes(tensors) | integers
    return Opened("quantized", found.config, tensors, load_tokenizer(path), {"dtypes": kinds, "notes": []})


def write(opened: Opened, path: Path, dtype: str | None) -> None:
    """A quantized directory, one plain matrix in memory at a time. Rows of the vocabulary beyond the tokenizer's are
    cut.

    Raises:
        ValueError: the model has no tokenizer, or one with more tokens than the model.
    """
    if (tokenizer := opened.tokenizer) is None:
        raise ValueError(
            "a quantized directory holds a tokenizer, this model came without one: name it (--tokenizer gpt2)"
        )
    opened, scheme = opened.with_tokenizer(tokenizer), Scheme.named(dtype or "int8")
    tensors: dict[str, Tensor] = {}
    for name, tensor in opened.tensors.items():
        matrix = scheme.quantize(name, tensor) if is_matrix(name) else None
        tensors |= {name: tensor.float()} if matrix is None else parts(name, *stored(matrix))
    fill(path, opened.config, scheme, tensors, tokenizer)


FORMAT = Format("quantized", "directory of int8 or int4 matrices", read, write, ("int8", "int4"))


class Stored:
    """A quantized directory, open: every tensor is read when it is asked for."""

    def __init__(self, directory: Path):
        scheme = scheme_of(directory)
        assert scheme is not None
        self.config, self.scheme = load_config(directory), scheme
        self.shapes = blank(self.config)
        wanted: dict[str, Tensor] = {}
        for name, tensor in self.shapes.items():
            wanted |= parts(name, *scheme.blank(name, *tensor.shape)) if is_matrix(name) else {name: tensor}
        self.tensors = read_lazily(TABLE, open_tensors(directory / QUANTIZED), self.config, wanted)
        for name, tensor in self.tensors.blank.items():
            if name not in self.shapes and tensor.dtype != wanted[name].dtype:
                raise ValueError(f"{name} is stored as {tensor.dtype}, {scheme.storage} has {wanted[name].dtype}")
        plain = self.tensors.only(name for name in self.shapes if not is_matrix(name))
        check_floats(plain)
        self.plain = plain.to(torch.float32)  # what is no matrix

    def matrix(self, name: str) -> QuantizedMatrix:
        """The matrix of this name."""
        values, scales = (self.tensors[f"{name}.{part}"] for part in PARTS)
        return self.scheme.read(name, values, scales, self.shapes[name].shape[1])


def parts(name: str, values: Tensor, scales: Tensor) -> dict[str, Tensor]:
    """What a matrix is stored as, by name."""
    return {f"{name}.{part}": tensor for part, tensor in zip(PARTS, (values, scales), strict=True)}


def fill(path: Path, config: ModelConfig, scheme: Scheme, tensors: Mapping[str, Tensor], tokenizer: Tokenizer) -> None:
    """Writes the files of a quantized directory."""
    settings = {KEY: scheme.model_dump(exclude_none=True)}
    files = description(config, torch.float32, tokenizer, settings)
    path.mkdir()
    for name, content in {**files, QUANTIZED: chunks(write_as(TABLE, tensors, config))}.items():
        with (path / name).open("wb") as file:
            file.writelines(content)
