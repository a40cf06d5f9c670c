"""Files of ``torch.save`` (.pt, .pth, .bin) read and written without pickle: a zip of one described pickle and of raw
storages. Nothing in such a file is ever executed. Knows nothing of models."""

from __future__ import annotations

import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from glassgpt.weights.lazy import LazyTensors
from glassgpt.weights.pickle_writer import encode
from glassgpt.weights.pickles import MAX_BYTES, Storage, StoredTensor, describe
from glassgpt.weights.stored_zip import check_crc, read_entries
from glassgpt.weights.untrusted import RawFile, check_disjoint, check_names, check_shape

# The first bytes of the format before PyTorch 1.6: protocol 2, then the number 0x1950a86a20f9469cfc6c.
LEGACY = bytes.fromhex("80028a0a6cfc9c46f9206aa85019")

# Entries beside the pickle and its storages; the last three say nothing that matters here.
_BESIDE = {"version", "byteorder", ".format_version", ".storage_alignment", ".data/serialization_id"}


class TorchFile:
    """A file of torch.save. ``content`` is what was saved, with a StoredTensor in the place of each tensor.

    Raises:
        ValueError: the file breaks a rule; names the entry, key or byte.
    """

    def __init__(self, path: Path):
        self.file = RawFile(path)
        if self.file.read(0, min(len(LEGACY), self.file.size)) == LEGACY:
            raise ValueError(
                "it was saved in the format before PyTorch 1.6, which is not read: save it again with "
                "torch.save(torch.load(FILE, weights_only=True), NEW_FILE)"
            )
        entries = read_entries(self.file)
        root = next(iter(entries)).partition("/")[0] if entries else ""
        self.entries = {name.removeprefix(f"{root}/"): entry for name, entry in entries.items()}
        for name in entries:
            inside = name.removeprefix(f"{root}/")
            if inside == name or not (inside in _BESIDE or inside == "data.pkl" or _is_storage(inside)):
                raise ValueError(f"the zip entry {name[:100]!r} is none that torch.save writes for tensors")
        if self._small("byteorder", b"little").strip() != b"little":
            raise ValueError("it was saved on a big-endian machine, which is not read")
        self.content = describe(self._small("data.pkl"))
        self._verified: set[str] = set()

    def tensors(self, state: Any) -> LazyTensors:
        """The tensors of a state dict inside ``content``, each read, with its CRC-32 checked, when it is asked for.

        Raises:
            ValueError: ``state`` is no state dict, or its tensors do not fit their storages.
        """
        is_named = isinstance(state, dict) and all(isinstance(name, str) for name in state)
        if not is_named or not all(isinstance(tensor, StoredTensor) for tensor in state.values()):
            raise ValueError("what should be a state dict holds something else than named tensors")
        check_names(state)
        for name, tensor in state.items():
            check_shape(name, tensor.shape)
            self._check_storage(tensor.storage)
        self._check_sharing(state)
        blank = {
            name: torch.empty(tensor.shape, dtype=_dtype(tensor.storage), device="meta")
            for name, tensor in state.items()
        }
        return LazyTensors(blank, lambda name: self._read(state[name]))

    def _small(self, name: str, default: bytes | None = None) -> bytes | bytearray:
        if (entry := self.entries.get(name)) is None:
            if default is None:
                raise ValueError(f"it has no {name}: torch.save writes one")
            return default
        if entry.size > MAX_BYTES:
            raise ValueError(f"its {name} has {entry.size:,} bytes, expected at most {MAX_BYTES:,}")
        check_crc(self.file, entry, name)
        return self.file.read(entry.offset, entry.size)

    def _check_storage(self, storage: Storage) -> None:
        if (entry := self.entries.get(f"data/{storage.key}")) is None:
            raise ValueError(f"it has no storage data/{storage.key}")
        if storage.numel * _dtype(storage).itemsize != entry.size:
            raise ValueError(
                f"data/{storage.key} has {entry.size:,} bytes, {storage.numel:,} of {storage.dtype} were announced"
            )

    def _check_sharing(self, state: Mapping[str, StoredTensor]) -> None:
        """Tensors may be one and the same (tied) or apart, but never overlap in part."""
        extents: dict[str, dict[tuple[int, int], str]] = {}
        for name, tensor in state.items():
            size = _dtype(tensor.storage).itemsize
            start, end = tensor.offset * size, (tensor.offset + tensor.numel) * size
            extents.setdefault(tensor.storage.key, {})[start, end] = name
        for places in extents.values():
            check_disjoint((start, end, name) for (start, end), name in places.items())

    def _read(self, tensor: StoredTensor) -> Tensor:
        name = f"data/{tensor.storage.key}"
        entry, dtype = self.entries[name], _dtype(tensor.storage)
        if name not in self._verified:
            check_crc(self.file, entry, name)
            self._verified.add(name)
        return self.file.tensor(entry.offset + tensor.offset * dtype.itemsize, tensor.shape, dtype)


def is_torch_file(path: Path) -> bool:
    """Whether a path is a zip file, as torch.save writes them, or the format before that."""
    if not path.is_file():
        return False
    with path.open("rb") as file:
        return file.read(len(LEGACY)).startswith((b"PK\3\4", LEGACY))


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
            storage = Storage(str(len(stored)), str(tensor.dtype).removeprefix("torch."), tensor.numel())
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


def _is_storage(name: str) -> bool:
    key = name.removeprefix("data/")
    return key != name and key.isascii() and key.isdigit() and len(key) <= 20


def _dtype(storage: Storage) -> torch.dtype:
    return getattr(torch, storage.dtype)
