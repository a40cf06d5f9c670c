"""Careless readers that the fuzzer must catch, each at its own fault: who watches is watched."""

from __future__ import annotations

import pickle
import zipfile
from pathlib import Path

import numpy as np


def trusting_pickle(path: Path) -> object:
    """Executes what the file says."""

    class Unpickler(pickle.Unpickler):
        def persistent_load(self, pid: object) -> object:
            return pid

    with zipfile.ZipFile(path) as archive, archive.open(archive.namelist()[0]) as file:
        return Unpickler(file).load()


def trusting_header(path: Path) -> object:
    """Allocates what the header asks for."""
    header = np.fromfile(path, "<u4", 8)
    return np.ones(int(header[4]) * int(header[6]) ** 2, np.float32)


def endless(path: Path) -> object:
    """Searches for a mark that a damaged file does not have."""
    content, at = path.read_bytes(), 0
    while not content.startswith((b"PK\5\6", b"PK\3\4"), at):
        at = (at + 1) % (len(content) + 1)
    return at


# What is caught -> the kind of file, the reader, the outcome that must occur.
CONTROLS = {
    "a pickle that is executed": ("nanogpt", trusting_pickle, "audit"),
    "a size that is believed": ("llmc", trusting_header, "crash"),
    "a loop without end": ("book", endless, "hang"),
}
