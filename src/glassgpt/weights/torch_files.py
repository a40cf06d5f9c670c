"""Files of ``torch.save`` (.pt, .pth, .bin) read without pickle: a zip of one described pickle and of raw storages.

Nothing in such a file is ever executed. Knows nothing of models. Imports no torch.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from glassgpt.weights.pickles import MAX_BYTES, describe
from glassgpt.weights.places import ITEMSIZES, Place, Stored
from glassgpt.weights.stored_zip import check_crc, read_entries
from glassgpt.weights.torch_objects import StoredTensor
from glassgpt.weights.untrusted import RawFile, check_disjoint, check_names, check_shape

if TYPE_CHECKING:
    from torch import Tensor

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

    def stored(self, state: Any) -> Stored:
        """The tensors of a state dict inside ``content``; the CRC-32 of a storage is checked when it is first read.

        Raises:
            ValueError: ``state`` is no state dict, or its tensors do not fit their storages.
        """
        is_named = isinstance(state, dict) and all(isinstance(name, str) for name in state)
        if not is_named or not all(isinstance(tensor, StoredTensor) for tensor in state.values()):
            raise ValueError("what should be a state dict holds something else than named tensors")
        check_names(state)
        for name, tensor in state.items():
            check_shape(name, tensor.shape)
        places = {name: self._place(tensor) for name, tensor in state.items()}
        same = {(place.offset, place.end): name for name, place in places.items()}  # tied tensors are one and the same
        check_disjoint((start, end, name) for (start, end), name in same.items())
        verified: set[str] = set()

        def read(name: str) -> Tensor:
            if (entry := f"data/{state[name].storage.key}") not in verified:
                check_crc(self.file, self.entries[entry], entry)
                verified.add(entry)
            return self.file.tensor(places[name])

        return Stored(places, read)

    def _small(self, name: str, default: bytes | None = None) -> bytes | bytearray:
        if (entry := self.entries.get(name)) is None:
            if default is None:
                raise ValueError(f"it has no {name}: torch.save writes one")
            return default
        if entry.size > MAX_BYTES:
            raise ValueError(f"its {name} has {entry.size:,} bytes, expected at most {MAX_BYTES:,}")
        check_crc(self.file, entry, name)
        return self.file.read(entry.offset, entry.size)

    def _place(self, tensor: StoredTensor) -> Place:
        storage = tensor.storage
        if (entry := self.entries.get(f"data/{storage.key}")) is None:
            raise ValueError(f"it has no storage data/{storage.key}")
        size = ITEMSIZES[storage.dtype]
        if storage.numel * size != entry.size:
            raise ValueError(
                f"data/{storage.key} has {entry.size:,} bytes, {storage.numel:,} of {storage.dtype} were announced"
            )
        return Place(entry.offset + tensor.offset * size, tensor.shape, storage.dtype)


def is_torch_file(path: Path) -> bool:
    """Whether a path is a zip file, as torch.save writes them, or the format before that."""
    if not path.is_file():
        return False
    with path.open("rb") as file:
        return file.read(len(LEGACY)).startswith((b"PK\3\4", LEGACY))


def _is_storage(name: str) -> bool:
    key = name.removeprefix("data/")
    return key != name and key.isascii() and key.isdigit() and len(key) <= 20
