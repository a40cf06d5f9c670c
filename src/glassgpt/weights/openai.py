"""OpenAI's own GPT-2: a directory with a TensorFlow checkpoint, hparams.json, encoder.json and vocab.bpe.

Written ones hold no ``model.ckpt.meta``: OpenAI's code and ``tf.train.load_checkpoint`` do not read it.
Source: https://github.com/openai/gpt-2, download_model.py and src/encoder.py
"""

from __future__ import annotations

import json
from pathlib import Path

import torch

from glassgpt.weights.formats import Format
from glassgpt.weights.headers import tokenizer_in
from glassgpt.weights.lazy import LazyTensors
from glassgpt.weights.names import OPENAI
from glassgpt.weights.openai_keys import OPENAI_HPARAMS, openai_hparams, openai_prefix
from glassgpt.weights.opened import Opened, as_gpt2, dtypes
from glassgpt.weights.tensor_bundle import TensorBundle
from glassgpt.weights.tensor_bundle_writer import write_bundle
from glassgpt.weights.translate import read_lazily, write_lazily

NAME = "model.ckpt"


def read(path: Path) -> Opened:
    """The model in one of OpenAI's directories.

    Raises:
        FileNotFoundError: the checkpoint has no index or data.
        ValueError: a file breaks a rule, or the tensors do not belong to ``hparams.json``.
    """
    config, hparams = openai_hparams(path)
    bundle = TensorBundle(path / openai_prefix(path))
    tensors = read_lazily(OPENAI, LazyTensors.at(bundle.stored()), config)
    notes = [f"skipped {name}, which is no weight" for name in bundle.skipped]
    tokenizer = tokenizer_in(path)
    return Opened("openai", config, tensors, tokenizer, {"dtypes": dtypes(tensors), "notes": notes, "hparams": hparams})


def write(opened: Opened, path: Path, dtype: str | None) -> None:
    """A directory as OpenAI's, in float32; without the tokenizer's files where the model has none.

    Raises:
        ValueError: OpenAI's model cannot express this one.
    """
    tensors = write_lazily(OPENAI, as_gpt2(opened, "OpenAI's GPT-2", torch.float32), opened.config)
    path.mkdir()
    hparams = {theirs: getattr(opened.config, ours) for theirs, ours in OPENAI_HPARAMS.items()}
    (path / "hparams.json").write_text(json.dumps(hparams) + "\n")
    lines = [f'{field}: "{NAME}"\n' for field in ("model_checkpoint_path", "all_model_checkpoint_paths")]
    (path / "checkpoint").write_text("".join(lines))
    write_bundle(path / NAME, tensors)
    if opened.tokenizer is not None:
        files = opened.tokenizer.files()
        (path / "encoder.json").write_bytes(files["vocab.json"])
        (path / "vocab.bpe").write_bytes(files["merges.txt"])


FORMAT = Format("openai", "OpenAI's TensorFlow checkpoint with its vocabulary", read, write)
