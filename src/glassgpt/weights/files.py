"""One safetensors file as named tensors, all or as asked for, and back. Executes nothing it reads.

Written as a stream of buffers, so that a writer can hash and fsync while memory stays near one tensor. Read with
bounded reads, because the library's memory map ends the process when the file is cut while in use.
Format: https://huggingface.co/docs/safetensors
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path

import torch
from torch import Tensor

from glassgpt.weights.lazy import LazyTensors, blank_of, dtype_name
from glassgpt.weights.safetensors_header import NAMES, open_safetensors


def chunks(tensors: Mapping[str, Tensor], metadata: Mapping[str, str] | None = None) -> Iterator[bytes | memoryview]:
    """The content of a safetensors file holding the tensors, buffer by buffer: the header, then each tensor."""
    header: dict[str, object] = {"__metadata__": {"format": "pt", **(metadata or {})}}
    offset = 0
    for name, tensor in blank_of(tensors).items():
        end = offset + tensor.numel() * tensor.element_size()
        header[name] = {"dtype": NAMES[dtype_name(tensor)], "shape": list(tensor.shape), "data_offsets": [offset, end]}
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
    return LazyTensors.at(open_safetensors(path))
