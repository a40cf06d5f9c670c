"""Files of ``torch.save`` written without pickle: a zip of one pickle, put together by hand, and of raw storages."""

from __future__ import annotations

import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from glassgpt.weights.lazy import LazyTensors, dtype_name
from glassgpt.weights.pickle_writer import encode
from glassgpt.weights.torch_objects import Storage, StoredTensor


def write_torch(path: Path, content: Mapping[str, Any], aliases: Mapping[str, str] | None = None) -> None:
    """Writes a file that ``torch.load(path, weights_only=True)`` reads: LazyTensors, or a dictionary with some inside.

    Memory stays near one tensor. ``aliases`` gives for names of equal tensors the one that is written for all.
    """
    stored: list[tuple[LazyTensors, str]] = []

    def describe_all(tensors: LazyTensors) -> dict[str, StoredTensor]:
        described: dict[str, StoredTensor] = {}
        for name, tensor in tensors.blank.items():
            if aliases and name in aliases:
                described[name] = described[aliases[name]]
                continue
            storage = Storage(str(len(stored)), dtype_name(tensor), tensor.numel())
            described[name] = StoredTensor(storage, 0, tuple(tensor.shape))
            stored.append((tensors, name))
        return described

    if isinstance(content, LazyTensors):
        pickled = encode(describe_all(content))
    else:
        pickled = encode({k: describe_all(v) if isinstance(v, LazyTensors) else v for k, v in content.items()})
    with zipfile.ZipFile(path, "w", zipfile.ZIP_STORED) as archive:
        for name, small in {"data.pkl": pickled, "byteorder": b"little", "version": b"3\n"}.items():
            archive.writestr(_entry(name), small)
        for key, (tensors, name) in enumerate(stored):
            with archive.open(_entry(f"data/{key}"), "w", force_zip64=tensors.blank[name].nbytes >= 2**31) as file:
                file.write(tensors[name].detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy().data)


def _entry(name: str) -> zipfile.ZipInfo:
    """An entry with the same date every time, so that equal models give equal files."""
    return zipfile.ZipInfo(f"archive/{name}", (1980, 1, 1, 0, 0, 0))
