"""One directory is a model: Hugging Face's GPT-2 layout, which transformers and llama.cpp's converter read too."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch

from glassgpt.model.config import ModelConfig
from glassgpt.model.gpt import GPT
from glassgpt.model.skeleton import skeleton
from glassgpt.tokenizer.strict_json import read_json
from glassgpt.tokenizer.tokenizer import Tokenizer
from glassgpt.weights.files import chunks, open_tensors
from glassgpt.weights.hugging_face import from_hugging_face, to_hugging_face
from glassgpt.weights.hugging_face_config import QUANTIZED, config_from_json, config_to_json
from glassgpt.weights.lazy import LazyTensors
from glassgpt.weights.torch_files import TorchFile
from glassgpt.weights.untrusted import naming

WEIGHTS = "model.safetensors"
PICKLED = "pytorch_model.bin"
INDEX = "model.safetensors.index.json"
SHARD_BYTES = 5 * 10**9
MAX_SHARDS = 1000
MAX_CONFIG_BYTES, MAX_INDEX_BYTES = 2**20, 16 * 2**20

Content = Iterable[bytes | memoryview]


def model_files(model: GPT, tokenizer: Tokenizer) -> dict[str, Content]:
    """File name -> content of a model directory; weights stream tensor by tensor.

    Raises:
        ValueError: the tokenizer has more tokens than the model.
    """
    return files_of(model.config, LazyTensors.of(model.state_dict()), tokenizer)


def files_of(config: ModelConfig, tensors: LazyTensors, tokenizer: Tokenizer) -> dict[str, Content]:
    """The same for tensors under our names that are read one at a time, when the content asks for them."""
    dtype = tensors.blank["token_embedding.weight"].dtype
    return {**description(config, dtype, tokenizer), **_weight_files(to_hugging_face(tensors, config))}


def description(
    config: ModelConfig, dtype: torch.dtype, tokenizer: Tokenizer, more: Mapping[str, Any] | None = None
) -> dict[str, Content]:
    """The files of a model directory but its weights; ``more`` are further settings of ``config.json``.

    Raises:
        ValueError: the tokenizer has more tokens than the model.
    """
    if tokenizer.vocab_size > config.vocab_size:
        raise ValueError(f"the tokenizer has {tokenizer.vocab_size} tokens, the model only {config.vocab_size}")
    eot = {"bos_token_id": tokenizer.eot, "eos_token_id": tokenizer.eot}
    return {
        "config.json": [_json({**config_to_json(config, dtype, tokenizer.eot), **(more or {})})],
        "generation_config.json": [_json(eot)],
        **{name: [content] for name, content in tokenizer.files(config.context_length).items()},
    }


def save_model(model: GPT, tokenizer: Tokenizer, directory: Path) -> None:
    """Writes a model directory; ``directory`` appears whole or not at all.

    Raises:
        FileExistsError: ``directory`` exists.
    """
    directory = Path(directory)
    if directory.exists():
        raise FileExistsError(f"{directory} exists: remove it or choose another name")
    files = model_files(model, tokenizer)
    directory.parent.mkdir(parents=True, exist_ok=True)
    with TemporaryDirectory(dir=directory.parent, prefix=f".{directory.name}.") as folder:
        stage = Path(folder) / directory.name
        stage.mkdir()
        for name, content in files.items():
            with (stage / name).open("wb") as file:
                file.writelines(content)
        stage.rename(directory)


def load_model(directory: Path, dtype: torch.dtype | None = torch.float32) -> GPT:
    """The model in a directory, in evaluation mode, its weights as ``dtype`` (None: as stored).

    Raises:
        ValueError: a file is damaged, or tensors do not belong to the configuration; names file and tensors.
        FileNotFoundError: the directory holds no weights.
    """
    config, tensors = load_config(directory), open_weights(directory)
    model = skeleton(config)
    model.load_state_dict({name: tensor.contiguous() for name, tensor in tensors.to(dtype).items()}, assign=True)
    return model.eval()


def open_weights(directory: Path) -> LazyTensors:
    """The tensors in a model directory under our names, each read when it is asked for.

    Raises:
        ValueError: a file is damaged, or tensors do not belong to the configuration; names file and tensors.
        FileNotFoundError: the directory holds no weights.
    """
    directory = Path(directory)
    config = load_config(directory)
    try:
        return from_hugging_face(_open_files(directory), config)
    except ValueError as error:
        raise ValueError(f"{directory}: {error}") from error


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


def load_tokenizer(directory: Path) -> Tokenizer:
    """The tokenizer in a model directory."""
    return Tokenizer.load(Path(directory))


def _weight_files(tensors: LazyTensors) -> dict[str, Content]:
    if sum(tensor.nbytes for tensor in tensors.blank.values()) <= SHARD_BYTES:
        return {WEIGHTS: chunks(tensors)}
    from huggingface_hub import split_torch_state_dict_into_shards

    plan = split_torch_state_dict_into_shards(tensors.blank, max_shard_size=SHARD_BYTES)
    shards: dict[str, Content] = {file: chunks(tensors.only(names)) for file, names in plan.filename_to_tensors.items()}
    return shards | {INDEX: [_json({"metadata": plan.metadata, "weight_map": plan.tensor_to_filename})]}


def _open_files(directory: Path) -> LazyTensors:
    if (path := directory / WEIGHTS).is_file():
        return open_tensors(path)
    if (path := directory / PICKLED).is_file():  # as transformers saved until 2023
        with naming(path):
            file = TorchFile(path)
            return file.tensors(file.content)
    if (directory / QUANTIZED).is_file():
        raise ValueError(f"its weights are quantized: `glassgpt convert {directory} NEW --to hf` makes them float32")
    if not (path := directory / INDEX).is_file():
        raise FileNotFoundError(f"{directory} holds no {WEIGHTS}, {INDEX} or {PICKLED}")
    weight_map = _read_object(path, MAX_INDEX_BYTES).get("weight_map")
    if not isinstance(weight_map, dict) or not all(isinstance(file, str) for file in weight_map.values()):
        raise ValueError(f"{INDEX} has no weight_map from tensors to files")
    return _open_shards(directory, weight_map)


def _open_shards(directory: Path, weight_map: dict[str, str]) -> LazyTensors:
    files: dict[str, set[str]] = {}
    for name, file in weight_map.items():
        files.setdefault(file, set()).add(name)
    if len(files) > MAX_SHARDS:
        raise ValueError(f"{INDEX} names {len(files):,} files, expected at most {MAX_SHARDS:,}")
    homes: dict[str, LazyTensors] = {}
    for file, wanted in sorted(files.items()):
        if Path(file).name != file:
            raise ValueError(f"{INDEX} names {file[:100]!r}: a shard is a plain file name in the same directory")
        tensors = open_tensors(directory / file)
        if odd := sorted(wanted ^ set(tensors)):
            raise ValueError(f"{file} and {INDEX} disagree about {', '.join(odd[:8])}")
        homes |= dict.fromkeys(tensors, tensors)
    return LazyTensors({name: home.blank[name] for name, home in homes.items()}, lambda name: homes[name][name])


def _json(value: dict[str, Any]) -> bytes:
    return (json.dumps(value, indent=2) + "\n").encode()


def _read_object(path: Path, max_bytes: int) -> dict[str, Any]:
    if not isinstance(value := read_json(path, max_bytes), dict):
        raise ValueError(f"{path.name} holds {type(value).__name__}, expected an object")
    return value
