"""One safetensors file as named tensors, all or as asked for, and back. Executes nothing it reads.

Written by hand as a stream of buffers, so that a writer can hash and fsync while memory stays near one tensor; read by
the safetensors library. Format: https://huggingface.co/docs/safetensors
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path

import torch
from torch import Tensor

from glassgpt.weights.lazy import LazyTensors, blank_of

_NAMES = {
    torch.float64: "F64", torch.float32: "F32", torch.float16: "F16", torch.bfloat16: "BF16",
    torch.int64: "I64", torch.int32: "I32", torch.int16: "I16", torch.int8: "I8", torch.uint8: "U8", torch.bool: "BOOL",
}  # fmt: skip
_DTYPES = {name: dtype for dtype, name in _NAMES.items()}

MAX_HEADER_BYTES = 16 * 2**20


def chunks(tensors: Mapping[str, Tensor], metadata: Mapping[str, str] | None = None) -> Iterator[bytes | memoryview]:
    """The content of a safetensors file holding the tensors, buffer by buffer: the header, then each tensor."""
    header: dict[str, object] = {"__metadata__": {"format": "pt", **(metadata or {})}}
    offset = 0
    for name, tensor in blank_of(tensors).items():
        end = offset + tensor.numel() * tensor.element_size()
        header[name] = {"dtype": _NAMES[tensor.dtype], "shape": list(tensor.shape), "data_offsets": [offset, end]}
        offset = end
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    yield len(text).to_bytes(8, "little") + text
    for tensor in tensors.values():
        plain = tensor.detach().cpu().contiguous().reshape(-1)
        yield plain.view(torch.uint8).numpy().data


def read(path: Path) -> dict[str, Tensor]:
    """The tensors of a safetensors file.

    Raises:
        ValueError: the file is not a whole and well-formed safetensors file.
    """
    return dict(open_tensors(path))


def open_tensors(path: Path) -> LazyTensors:
    """The same, each tensor when it is asked for."""
    from safetensors import SafetensorError, safe_open

    try:
        check_header(path)
        file = safe_open(path, "pt").__enter__()  # closed with its last reference
        slices = {name: file.get_slice(name) for name in file.keys()}  # noqa: SIM118 - not a mapping
        blank = {
            name: torch.empty(part.get_shape(), dtype=_DTYPES[part.get_dtype()], device="meta")
            for name, part in slices.items()
        }
    except SafetensorError as error:
        raise ValueError(f"{path} is not a whole safetensors file ({error}): copy or download it again") from error
    return LazyTensors(blank, file.get_tensor)


def is_safetensors(path: Path) -> bool:
    """Whether a path is a file that begins as safetensors files do."""
    if not path.is_file():
        return False
    with path.open("rb") as file:
        start = file.read(10)
    return 2 <= int.from_bytes(start[:8], "little") <= MAX_HEADER_BYTES and start[8:9] == b"{"


def check_header(path: Path) -> None:
    """Raises ValueError for a header too long to be a model's, before it is read."""
    with path.open("rb") as file:
        if (length := int.from_bytes(file.read(8), "little")) > MAX_HEADER_BYTES:
            raise ValueError(f"{path} announces a header of {length:,} bytes: expected at most {MAX_HEADER_BYTES:,}")
