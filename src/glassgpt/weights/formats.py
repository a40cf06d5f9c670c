"""The formats a model can be stored in: found by content, opened lazily, written whole. Knows no format itself.

A format is a module with a ``FORMAT``. It is imported when its name is asked for, so that what it needs stays there.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from importlib import import_module
from pathlib import Path

import torch
from torch import Tensor

from glassgpt.weights.headers import recognized
from glassgpt.weights.lazy import LazyTensors
from glassgpt.weights.opened import Opened
from glassgpt.weights.staging import staged
from glassgpt.weights.untrusted import check_floats, naming

Progress = Callable[[str, int, int], None]  # tensor name, how many are done with it, how many there are

# Name -> module. A further format is a further line here, and one in ``headers``, which recognises it.
FORMATS: dict[str, str] = {
    "gguf": "glassgpt.weights.gguf",
    "onnx": "glassgpt.weights.onnx",
    "quantized": "glassgpt.weights.quantized",
    "hf": "glassgpt.weights.directory_format",
    "openai": "glassgpt.weights.openai",
    "book": "glassgpt.weights.book_file",
    "nanogpt": "glassgpt.weights.nanogpt",
    "llmc": "glassgpt.weights.llmc",
}


@dataclass(frozen=True)
class Format:
    """One way to store a model.

    ``open`` validates and reads headers; ``write`` fills a path that ``write_model`` shows to nobody before it is
    complete (None: the format is only read). ``dtypes`` are the names that ``write`` takes, the first one its own
    choice.
    """

    name: str
    description: str
    open: Callable[[Path], Opened]
    write: Callable[[Opened, Path, str | None], None] | None = None
    dtypes: tuple[str, ...] = ("float32",)


def format_named(name: str) -> Format:
    """The format of this name.

    Raises:
        ValueError: there is none; names those there are.
        ImportError: it needs a package that is not installed; names the extra.
    """
    if name not in FORMATS:
        raise ValueError(f"no format is called {name!r}: choose one of {', '.join(FORMATS)}")
    return import_module(FORMATS[name]).FORMAT


def open_model(path: Path | str, allow_nonfinite: bool = False) -> Opened:
    """The model stored at ``path``, whatever its format. Tensors are read, and checked, when they are asked for.

    Raises:
        FileNotFoundError: there is nothing at ``path``.
        ValueError: no known format, or the file breaks a rule of its own; names the file and the rule. A tensor that
            holds NaN or infinity is refused when it is read, unless ``allow_nonfinite``.
    """
    path = Path(path)
    form = format_named(recognized(path))
    with naming(path):
        opened = form.open(path)
        check_floats(opened.tensors)
    return replace(opened, tensors=checked(opened.tensors, path, allow_nonfinite))


def write_model(
    opened: Opened, name: str, path: Path | str, dtype: str | None = None, progress: Progress | None = None
) -> None:
    """Writes a model in the format ``name``; ``path`` appears whole, with all its bytes on disk, or not at all.

    Args:
        dtype: one of the format's ``dtypes``; None leaves the choice to it.
        progress: called with each tensor once it has been read.

    Raises:
        FileExistsError: ``path`` exists.
        ValueError: the format is not written, does not know ``dtype``, or cannot express the model; or a number is too
            large for float16.
    """
    form, path = format_named(name), Path(path)
    if form.write is None:
        raise ValueError(f"{name} is only read, not written: choose another format")
    if dtype is not None and dtype not in form.dtypes:
        raise ValueError(f"{name} is not written as {dtype!r}: choose one of {', '.join(form.dtypes)}")
    tensors = watched(opened.tensors, progress)
    with staged(path) as stage:
        form.write(replace(opened, tensors=in_range(tensors) if dtype == "float16" else tensors), stage, dtype)


def watched(tensors: LazyTensors, progress: Progress | None) -> LazyTensors:
    """The same tensors; the first reading of each is told to ``progress``."""
    if progress is None:
        return tensors
    seen: set[str] = set()

    def read(name: str) -> Tensor:
        tensor = tensors[name]
        if name not in seen:
            seen.add(name)
            progress(name, len(seen), len(tensors))
        return tensor

    return LazyTensors(tensors.blank, read)


def in_range(tensors: LazyTensors) -> LazyTensors:
    """The same tensors; one with a number that float16 would make infinite is refused when it is read."""
    limit = torch.finfo(torch.float16).max

    def read(name: str) -> Tensor:
        tensor = tensors[name]
        if limit < (largest := float(tensor.abs().max())) < torch.inf:
            raise ValueError(f"{name} holds {largest:.4g}, float16 only numbers to {limit:.0f}: choose bfloat16")
        return tensor

    return LazyTensors(tensors.blank, read)


def checked(tensors: LazyTensors, path: Path, allow_nonfinite: bool) -> LazyTensors:
    """The same tensors; what is wrong with one is said with its name and the file's when it is read."""

    def read(name: str) -> Tensor:
        with naming(path):
            tensor = tensors[name]
            if not allow_nonfinite:
                check_finite(name, tensor)
        return tensor

    return LazyTensors(tensors.blank, read)


def check_finite(name: str, tensor: Tensor) -> None:
    """Raises ValueError for a tensor that holds NaN or infinity; its sum tells, unless it overflows itself."""
    if not tensor.is_floating_point() or torch.isfinite(tensor.sum(dtype=torch.float32)):
        return
    if not torch.isfinite(tensor).all():
        raise ValueError(f"{name} holds NaN or infinity: the training diverged or the file is damaged")
