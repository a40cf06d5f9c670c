"""OpenAI's own GPT-2: a directory with a TensorFlow checkpoint, hparams.json, encoder.json and vocab.bpe.

Written ones hold no ``model.ckpt.meta``: OpenAI's code and ``tf.train.load_checkpoint`` do not read it.
Source: https://github.com/openai/gpt-2, download_model.py and src/encoder.py
"""

from __future__ import annotations

import json
import re
from pathlib import Path

import torch

from glassgpt.tokenizer.tokenizer import Tokenizer
from glassgpt.weights.foreign_configs import OPENAI_HPARAMS, openai_hparams
from glassgpt.weights.formats import Format, Opened, as_gpt2, dtypes
from glassgpt.weights.names import OPENAI
from glassgpt.weights.tensor_bundle import TensorBundle
from glassgpt.weights.tensor_bundle_writer import write_bundle
from glassgpt.weights.translate import read_lazily, write_lazily
from glassgpt.weights.untrusted import RawFile, naming

NAME = "model.ckpt"
MAX_CHECKPOINT_BYTES = 2**16

_PREFIX = re.compile(r'^model_checkpoint_path: "([^"]*)"$', re.MULTILINE)
_NAME = re.compile(r"(/.*/)?([A-Za-z0-9][A-Za-z0-9._-]{0,255})")


def recognizes(path: Path) -> bool:
    return (path / "hparams.json").is_file() and (path / "checkpoint").is_file()


def read(path: Path) -> Opened:
    """The model in one of OpenAI's directories.

    Raises:
        FileNotFoundError: the checkpoint has no index or data.
        ValueError: a file breaks a rule, or the tensors do not belong to ``hparams.json``.
    """
    config, hparams = openai_hparams(path)
    bundle = TensorBundle(path / prefix(path / "checkpoint"))
    tensors = read_lazily(OPENAI, bundle.tensors(), config)
    notes = [f"skipped {name}, which is no weight" for name in bundle.skipped]
    tokenizer = Tokenizer.load(path) if (path / "encoder.json").is_file() else None
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


def prefix(checkpoint: Path) -> str:
    """The name with which the checkpoint's files begin, as the text file ``checkpoint`` has it.

    TensorFlow writes a whole path where it was given one; only its last part counts, since directories move.

    Raises:
        ValueError: it names none, or a relative path.
    """
    with naming(checkpoint):
        file = RawFile(checkpoint)
        if file.size > MAX_CHECKPOINT_BYTES:
            raise ValueError(f"it has {file.size:,} bytes, expected a few lines")
        names = _PREFIX.findall(file.read(0, file.size).decode("utf-8"))
        if len(names) != 1 or (found := _NAME.fullmatch(names[0])) is None:
            raise ValueError(f"it has {names!r:.200} as model_checkpoint_path: expected one name in this directory")
        return found[2]


FORMAT = Format("openai", "OpenAI's TensorFlow checkpoint with its vocabulary", recognizes, read, write)
