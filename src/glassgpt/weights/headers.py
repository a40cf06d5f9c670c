"""What a stored model says of itself, format by format: recognised by content, described by headers. Imports no torch.

A format has an entry here, by which it is found and described, and a module in ``formats``, which reads and writes it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from glassgpt.model.config import ModelConfig
from glassgpt.tokenizer.tokenizer import Tokenizer
from glassgpt.weights.book_keys import book_config, book_state, open_book
from glassgpt.weights.directory_files import WEIGHTS, load_config, load_settings, open_weight_files
from glassgpt.weights.gguf_header import read_header as read_gguf_header
from glassgpt.weights.gguf_keys import config_from, tokenizer_from
from glassgpt.weights.hugging_face_config import QUANTIZED
from glassgpt.weights.llmc_header import LLMC_MAGIC, llmc_header
from glassgpt.weights.nanogpt_keys import nanogpt_config, nanogpt_part
from glassgpt.weights.onnx_weights import MODEL, open_onnx
from glassgpt.weights.openai_keys import openai_hparams, openai_prefix
from glassgpt.weights.places import Place
from glassgpt.weights.safetensors_header import is_safetensors, open_safetensors
from glassgpt.weights.tensor_bundle import TensorBundle
from glassgpt.weights.torch_files import TorchFile, is_torch_file
from glassgpt.weights.untrusted import RawFile, naming


@dataclass(frozen=True)
class Header:
    """The shape of a model, how many of its tensors are stored as each dtype, its tokenizer if it has one, and what its
    config.json says of quantization."""

    config: ModelConfig
    dtypes: dict[str, int]
    tokenizer: Tokenizer | None = None
    quantization: dict[str, Any] | None = None


class Kind(NamedTuple):
    """How a format is recognised, by names and first bytes or by a pickle's keys, and described."""

    recognizes: Callable[[Path], bool]
    describe: Callable[[Path], Header]


def recognize(path: Path) -> str | None:
    """The name of the format of a file or directory; None if no format here is like this."""
    return next((name for name, kind in KINDS.items() if kind.recognizes(path)), None)


def read_header(path: Path) -> tuple[str, Header]:
    """The name of a stored model's format, and its header.

    Raises:
        FileNotFoundError: there is nothing at ``path``.
        ValueError: no known format, or a header breaks a rule of its format; names the file and the rule.
    """
    name = recognized(path)
    with naming(path):
        return name, KINDS[name].describe(path)


def recognized(path: Path) -> str:
    """``recognize``, or an error that says what is at ``path`` instead."""
    if not path.exists():
        raise FileNotFoundError(f"there is no file or directory {path}")
    if (name := recognize(path)) is None:
        raise ValueError(f"{path} is {looks(path)}, which no format here is: readable are {', '.join(KINDS)}")
    return name


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


def _gguf(path: Path) -> Header:
    header = read_gguf_header(path)
    dtypes = Counter(entry.kind.name for entry in header.tensors.values())
    return Header(config_from(path, header), dict(dtypes), tokenizer_from(header))


def _onnx(path: Path) -> Header:
    return Header(load_config(path), _dtypes(open_onnx(path).places), tokenizer_in(path))


def _hugging_face(path: Path) -> Header:
    return Header(load_config(path), _dtypes(open_weight_files(path).places), tokenizer_in(path))


def _quantized(path: Path) -> Header:
    dtypes, how = _dtypes(open_safetensors(path / QUANTIZED).places), load_settings(path).get("quantization_config")
    return Header(load_config(path), dtypes, Tokenizer.load(path), how if isinstance(how, dict) else None)


def _openai(path: Path) -> Header:
    config, _ = openai_hparams(path)
    bundle = TensorBundle(path / openai_prefix(path))
    return Header(config, _dtypes(bundle.places), tokenizer_in(path))


def _book(path: Path) -> Header:
    places = open_book(path).places
    return Header(book_config(path, places), _dtypes(places))


def _nanogpt(path: Path) -> Header:
    file = TorchFile(path)
    config = nanogpt_config(nanogpt_part(file.content, "model_args"))
    return Header(config, _dtypes(file.stored(nanogpt_part(file.content, "model")).places))


def _llmc(path: Path) -> Header:
    header = llmc_header(RawFile(path))
    return Header(header.config, {header.dtype: 4 + 12 * header.config.num_layers})


def _dtypes(places: Mapping[str, Place]) -> dict[str, int]:
    return dict(Counter(place.dtype for place in places.values()))


def tokenizer_in(path: Path) -> Tokenizer | None:
    """The tokenizer of a directory that may lack one."""
    try:
        return Tokenizer.load(path)
    except FileNotFoundError:
        return None


def _begins(start: bytes) -> Callable[[Path], bool]:
    """Whether a path is a file with these first bytes."""

    def begins(path: Path) -> bool:
        if not path.is_file():
            return False
        with path.open("rb") as file:
            return file.read(len(start)) == start

    return begins


def _has(*names: str) -> Callable[[Path], bool]:
    """Whether a path is a directory with all these files."""
    return lambda path: all((path / name).is_file() for name in names)


def _is_book(path: Path) -> bool:
    """Whether it is a safetensors file (no other format here is a single one) or a .pth with the book's names."""
    if not is_torch_file(path):
        return is_safetensors(path)
    try:
        return "tok_emb.weight" in book_state(TorchFile(path).content)
    except ValueError:
        return False


# In the order in which a path is tried. A further format is a further line.
KINDS: dict[str, Kind] = {
    "gguf": Kind(_begins(b"GGUF"), _gguf),
    # Before Hugging Face's, whose config.json these two have as well, and may have a graph beside its weights.
    "onnx": Kind(lambda path: _has(MODEL)(path) and not _has(WEIGHTS)(path), _onnx),
    "quantized": Kind(_has(QUANTIZED), _quantized),
    "hf": Kind(_has("config.json"), _hugging_face),
    "openai": Kind(_has("hparams.json", "checkpoint"), _openai),
    "book": Kind(_is_book, _book),
    "nanogpt": Kind(is_torch_file, _nanogpt),  # after the book's: it takes what is left of PyTorch's files
    "llmc": Kind(_begins(LLMC_MAGIC.to_bytes(4, "little")), _llmc),
}
