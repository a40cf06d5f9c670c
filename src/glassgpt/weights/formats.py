"""The formats a model can be stored in: found by content, opened lazily, written whole. Knows no format itself.

A format is a module with a ``FORMAT``. It is imported when its name is asked for, so that what it needs stays there.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from importlib import import_module
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch
from torch import Tensor

from glassgpt.model.config import ModelConfig
from glassgpt.model.gpt import GPT
from glassgpt.model.skeleton import skeleton
from glassgpt.tokenizer.tokenizer import Tokenizer
from glassgpt.weights.lazy import LazyTensors
from glassgpt.weights.translate import with_qkv_bias
from glassgpt.weights.untrusted import check_floats, naming

Progress = Callable[[str, int, int], None]  # tensor name, how many are done with it, how many there are

# Name -> module, in the order in which a path is tried. A further format is a further line.
FORMATS: dict[str, str] = {
    "gguf": "glassgpt.weights.gguf",
    "onnx": "glassgpt.weights.onnx",  # before Hugging Face's, whose config.json it has too
    "quantized": "glassgpt.weights.quantized",  # has Hugging Face's config.json too
    "hf": "glassgpt.weights.directory_format",
    "openai": "glassgpt.weights.openai",
    "book": "glassgpt.weights.book_file",
    "nanogpt": "glassgpt.weights.nanogpt",  # after the book's: it takes what is left of PyTorch's files
    "llmc": "glassgpt.weights.llmc",
}


@dataclass(frozen=True)
class Opened:
    """A stored model: its shape, its tensors under our names (read when asked for), what else is known of it.

    ``facts`` has ``dtypes`` (how each tensor is stored), ``notes`` (sentences: what was dropped, cut or assumed) and
    whatever the file says about itself, as plain data.
    """

    format: str
    config: ModelConfig
    tensors: LazyTensors
    tokenizer: Tokenizer | None = None
    facts: dict[str, Any] = field(default_factory=dict)

    @classmethod
    def of(cls, model: GPT, tokenizer: Tokenizer | None = None) -> Opened:
        """A model in memory, ready to be written."""
        tensors = LazyTensors.of(model.state_dict())
        return cls("memory", model.config, tensors, tokenizer, {"dtypes": dtypes(tensors), "notes": []})

    def build(self, dtype: torch.dtype | None = torch.float32) -> GPT:
        """The model itself, in evaluation mode, its weights as ``dtype`` (None: as stored)."""
        model = skeleton(self.config)
        state = {name: tensor.contiguous() for name, tensor in self.tensors.to(dtype).items()}
        model.load_state_dict(state, assign=True)
        return model.eval()

    def with_tokenizer(self, tokenizer: Tokenizer) -> Opened:
        """The model with this tokenizer; rows of a vocabulary padded beyond it are cut off.

        Raises:
            ValueError: the tokenizer has more tokens than the model.
        """
        if tokenizer.vocab_size > self.config.vocab_size:
            raise ValueError(
                f"the tokenizer has {tokenizer.vocab_size} tokens, the model only {self.config.vocab_size}: "
                "give the tokenizer it was trained with"
            )
        return replace(self.cut(tokenizer.vocab_size), tokenizer=tokenizer)

    def cut(self, vocab_size: int) -> Opened:
        """The model with the first ``vocab_size`` rows of its vocabulary."""
        if vocab_size == self.config.vocab_size:
            return self
        rows = ("token_embedding.weight", "head.weight")
        note = f"padded vocabulary {self.config.vocab_size} cut to {vocab_size}"
        return replace(
            self,
            config=self.config.model_copy(update={"vocab_size": vocab_size}),
            tensors=self.tensors.changed(lambda name, tensor: tensor[:vocab_size] if name in rows else tensor),
            facts={**self.facts, "notes": [*self.facts.get("notes", []), note]},
        )


@dataclass(frozen=True)
class Format:
    """One way to store a model.

    ``recognizes`` looks at names and first bytes only and never raises for what it does not know; ``open`` validates
    and reads headers; ``write`` fills a path that ``write_model`` shows to nobody before it is complete (None: the
    format is only read). ``dtypes`` are the names that ``write`` takes, the first one its own choice.
    """

    name: str
    description: str
    recognizes: Callable[[Path], bool]
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


def recognize(path: Path) -> Format | None:
    """The format of a file or directory, by its content."""
    return next((form for form in map(format_named, FORMATS) if form.recognizes(path)), None)


def open_model(path: Path | str, allow_nonfinite: bool = False) -> Opened:
    """The model stored at ``path``, whatever its format. Tensors are read, and checked, when they are asked for.

    Raises:
        FileNotFoundError: there is nothing at ``path``.
        ValueError: no known format, or the file breaks a rule of its own; names the file and the rule. A tensor that
            holds NaN or infinity is refused when it is read, unless ``allow_nonfinite``.
    """
    path = Path(path)
    if not path.exists():
        raise FileNotFoundError(f"there is no file or directory {path}")
    if (form := recognize(path)) is None:
        raise ValueError(f"{path} is {looks(path)}, which no format here is: readable are {', '.join(FORMATS)}")
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
        ValueError: the format is not written, does not know ``dtype``, or cannot express the model.
    """
    form, path = format_named(name), Path(path)
    if form.write is None:
        raise ValueError(f"{name} is only read, not written: choose another format")
    if dtype is not None and dtype not in form.dtypes:
        raise ValueError(f"{name} is not written as {dtype!r}: choose one of {', '.join(form.dtypes)}")
    with staged(path) as stage:
        form.write(replace(opened, tensors=watched(opened.tensors, progress)), stage, dtype)


@contextmanager
def staged(path: Path) -> Iterator[Path]:
    """A path in a hidden directory beside ``path``. What is there in the end is made durable and moved to ``path``;
    files written beside it move along before it.

    Raises:
        FileExistsError: ``path`` exists.
    """
    if os.path.lexists(path):
        raise FileExistsError(f"{path} exists: remove it or choose another name")
    path.parent.mkdir(parents=True, exist_ok=True)
    with TemporaryDirectory(dir=path.parent, prefix=f".{path.name}.") as folder:
        stage = Path(folder) / path.name
        yield stage
        for file in [*Path(folder).rglob("*"), Path(folder)]:
            sync(file)
        for beside in sorted(Path(folder).iterdir(), key=lambda file: file == stage):
            beside.rename(path.parent / beside.name)
    sync(path.parent)


def sync(path: Path) -> None:
    """Returns when a file, or the names in a directory, are on the disk itself."""
    fd = os.open(path, os.O_RDONLY)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


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


def checked(tensors: LazyTensors, path: Path, allow_nonfinite: bool) -> LazyTensors:
    """The same tensors; what is wrong with one is said with its name and the file's when it is read."""

    def read(name: str) -> Tensor:
        with naming(path):
            tensor = tensors[name]
            if not allow_nonfinite and not torch.isfinite(tensor).all():
                raise ValueError(f"{name} holds NaN or infinity: the training diverged or the file is damaged")
        return tensor

    return LazyTensors(tensors.blank, read)


def as_gpt2(opened: Opened, who: str, dtype: torch.dtype | None) -> LazyTensors:
    """The tensors for a format that knows GPT-2 alone; a missing query/key/value bias becomes zeros.

    Raises:
        ValueError: the output layer is not tied, or the normalisation has another epsilon than 1e-5.
    """
    config = opened.config
    if not config.tied_head:
        raise ValueError(f"{who} always ties the output layer to the token embedding, this model has its own")
    if config.norm_eps != 1e-5:
        raise ValueError(f"{who} normalises with epsilon 1e-5, this model with {config.norm_eps}")
    return with_qkv_bias(opened.tensors, config).to(dtype)


def dtype_named(name: str | None) -> torch.dtype | None:
    """torch's dtype of this name; None stays None."""
    return None if name is None else getattr(torch, name)


def dtypes(tensors: LazyTensors) -> dict[str, str]:
    """The dtype of each tensor by name."""
    return {name: str(tensor.dtype).removeprefix("torch.") for name, tensor in tensors.blank.items()}


def looks(path: Path) -> str:
    """What a path looks like, for a message."""
    if path.is_dir():
        names = sorted(file.name for file in path.iterdir())
        more = f" and {len(names) - 6} more" if len(names) > 6 else ""
        return f"a directory with {', '.join(names[:6]) + more}" if names else "an empty directory"
    if not path.is_file():
        return "a pipe, a socket or a device"
    with path.open("rb") as file:
        return f"a file of {path.stat().st_size:,} bytes beginning {file.read(8).hex(' ') or 'with nothing'}"
