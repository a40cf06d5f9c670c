"""One directory is a model: Hugging Face's GPT-2 layout, which transformers and llama.cpp's converter read too."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import torch

from glassgpt.model.config import ModelConfig
from glassgpt.model.gpt import GPT
from glassgpt.model.skeleton import skeleton
from glassgpt.tokenizer.tokenizer import Tokenizer
from glassgpt.weights.directory_files import INDEX, WEIGHTS, load_config, open_weight_files
from glassgpt.weights.files import chunks
from glassgpt.weights.hugging_face import from_hugging_face, to_hugging_face
from glassgpt.weights.hugging_face_config import config_to_json
from glassgpt.weights.lazy import LazyTensors
from glassgpt.weights.staging import staged
from glassgpt.weights.untrusted import check_floats

SHARD_BYTES = 5 * 10**9

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
    files = model_files(model, tokenizer)
    with staged(Path(directory)) as stage:
        stage.mkdir()
        for name, content in files.items():
            with (stage / name).open("wb") as file:
                file.writelines(content)


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
        tensors = from_hugging_face(LazyTensors.at(open_weight_files(directory)), config)
        check_floats(tensors)
        return tensors
    except ValueError as error:
        raise ValueError(f"{directory}: {error}") from error


def load_tokenizer(directory: Path) -> Tokenizer:
    """The tokenizer in a model directory.

    Raises:
        FileNotFoundError: there is none; says how to add one.
        ValueError: it is damaged, or of another kind.
    """
    try:
        return Tokenizer.load(Path(directory))
    except FileNotFoundError as error:
        raise FileNotFoundError(
            f"{error}. `glassgpt convert {directory} NEW --to hf --tokenizer gpt2` adds GPT-2's"
        ) from None


def _weight_files(tensors: LazyTensors) -> dict[str, Content]:
    if sum(tensor.nbytes for tensor in tensors.blank.values()) <= SHARD_BYTES:
        return {WEIGHTS: chunks(tensors)}
    from huggingface_hub import split_torch_state_dict_into_shards

    plan = split_torch_state_dict_into_shards(tensors.blank, max_shard_size=SHARD_BYTES)
    shards: dict[str, Content] = {file: chunks(tensors.only(names)) for file, names in plan.filename_to_tensors.items()}
    return shards | {INDEX: [_json({"metadata": plan.metadata, "weight_map": plan.tensor_to_filename})]}


def _json(value: dict[str, Any]) -> bytes:
    return (json.dumps(value, indent=2) + "\n").encode()
