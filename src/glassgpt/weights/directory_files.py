"""The files of a Hugging Face model directory, opened: its configuration, and where its weights lie. Imports no torch.

Weights are one file or shards with an index of them, safetensors or, as transformers saved until 2023, files of torch.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from glassgpt.model.config import ModelConfig
from glassgpt.tokenizer.strict_json import read_json
from glassgpt.weights.hugging_face_config import QUANTIZED, config_from_json
from glassgpt.weights.places import Stored
from glassgpt.weights.safetensors_header import open_safetensors
from glassgpt.weights.torch_files import TorchFile, is_torch_file
from glassgpt.weights.untrusted import naming

WEIGHTS, INDEX = "model.safetensors", "model.safetensors.index.json"
PICKLED, PICKLED_INDEX = "pytorch_model.bin", "pytorch_model.bin.index.json"
LFS_POINTER = b"version https://git-lfs"
MAX_SHARDS = 1000
MAX_CONFIG_BYTES, MAX_INDEX_BYTES = 2**20, 16 * 2**20

_PLAIN_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,255}")


def load_config(directory: Path) -> ModelConfig:
    """The configuration in a model directory.

    Raises:
        ValueError: config.json is no JSON object or not GPT-2's.
        FileNotFoundError: the directory has no config.json.
    """
    settings = load_settings(directory)
    try:
        return config_from_json(settings)
    except ValueError as error:
        raise ValueError(f"{directory}: {error}") from error


def load_settings(directory: Path) -> dict[str, Any]:
    """The config.json of a model directory as it is.

    Raises:
        ValueError: it is no JSON object.
        FileNotFoundError: there is none.
    """
    path = Path(directory) / "config.json"
    if not path.is_file():
        raise FileNotFoundError(f"{directory} is not a model directory: it has no config.json")
    return _read_object(path, MAX_CONFIG_BYTES)


def open_weight_files(directory: Path) -> Stored:
    """The tensors in a model directory under their own names.

    Raises:
        ValueError: a file is damaged, or an index does not fit its shards.
        FileNotFoundError: the directory holds no weights, or a shard is missing.
    """
    for name in (WEIGHTS, PICKLED):
        if (directory / name).is_file():
            return _open_file(directory / name)
    if (directory / QUANTIZED).is_file():
        raise ValueError(f"its weights are quantized: `glassgpt convert {directory} NEW --to hf` makes them float32")
    for name in (INDEX, PICKLED_INDEX):
        if (directory / name).is_file():
            return _open_shards(directory / name)
    raise FileNotFoundError(f"{directory} holds no {WEIGHTS} or {PICKLED}, and no {INDEX} or {PICKLED_INDEX}")


def _open_file(path: Path) -> Stored:
    """A file of safetensors or of torch, as its first bytes tell."""
    with naming(path):
        if path.is_file() and path.stat().st_size < 1024 and path.read_bytes().startswith(LFS_POINTER):
            raise ValueError("it is only Git's note of where the file is: fetch the file itself with git lfs pull")
        if not is_torch_file(path):
            return open_safetensors(path)
        file = TorchFile(path)
        return file.stored(file.content)


def _open_shards(index: Path) -> Stored:
    with naming(index):
        weight_map = _read_object(index, MAX_INDEX_BYTES).get("weight_map")
        if not isinstance(weight_map, dict) or not all(isinstance(file, str) for file in weight_map.values()):
            raise ValueError("it has no weight_map from tensors to files")
        files: dict[str, set[str]] = {}
        for name, file in weight_map.items():
            files.setdefault(file, set()).add(name)
        if len(files) > MAX_SHARDS:
            raise ValueError(f"it names {len(files):,} files, expected at most {MAX_SHARDS:,}")
        if odd := [file for file in files if not _PLAIN_NAME.fullmatch(file)]:
            raise ValueError(f"it names {odd[0][:100]!r}: a shard is a plain file name in the same directory")
        shards = {}
        for file, wanted in sorted(files.items()):
            shards[file] = _open_file(index.with_name(file))
            if odd := sorted(wanted ^ set(shards[file].places)):
                raise ValueError(f"it and {file} disagree about {', '.join(odd[:8])}")
    places = {name: place for shard in shards.values() for name, place in shard.places.items()}
    return Stored(places, lambda name: shards[weight_map[name]].read(name))


def _read_object(path: Path, max_bytes: int) -> dict[str, Any]:
    if not isinstance(value := read_json(path, max_bytes), dict):
        raise ValueError(f"{path.name} holds {type(value).__name__}, expected an object")
    return value
