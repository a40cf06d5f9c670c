"""What the small files in OpenAI's directory mean: ``hparams.json`` and ``checkpoint``. Imports no torch."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from glassgpt.model.config import ModelConfig
from glassgpt.tokenizer.strict_json import read_json
from glassgpt.weights.untrusted import RawFile, config_of, naming

# OpenAI's hparams.json -> ours.
OPENAI_HPARAMS = {
    "n_vocab": "vocab_size",
    "n_ctx": "context_length",
    "n_embd": "emb_dim",
    "n_head": "num_heads",
    "n_layer": "num_layers",
}
MAX_HPARAMS_BYTES = 2**20
MAX_CHECKPOINT_BYTES = 2**16

_PREFIX = re.compile(r'^model_checkpoint_path: "([^"]*)"$', re.MULTILINE)
_NAME = re.compile(r"(/.*/)?([A-Za-z0-9][A-Za-z0-9._-]{0,255})")


def openai_hparams(path: Path) -> tuple[ModelConfig, dict[str, Any]]:
    """The configuration in the ``hparams.json`` of a directory, and the file's own numbers."""
    with naming(path / "hparams.json"):
        hparams = read_json(path / "hparams.json", MAX_HPARAMS_BYTES)
        if not isinstance(hparams, dict):
            raise ValueError(
                f"it holds a {type(hparams).__name__}, expected an object with {', '.join(OPENAI_HPARAMS)}"
            )
        fields = {ours: hparams[theirs] for theirs, ours in OPENAI_HPARAMS.items() if theirs in hparams}
        return config_of(fields), hparams


def openai_prefix(path: Path) -> str:
    """The name with which the checkpoint's files begin, as the text file ``checkpoint`` of a directory has it.

    TensorFlow writes a whole path where it was given one; only its last part counts, since directories move.

    Raises:
        ValueError: it names none, or a relative path.
    """
    checkpoint = path / "checkpoint"
    with naming(checkpoint):
        file = RawFile(checkpoint)
        if file.size > MAX_CHECKPOINT_BYTES:
            raise ValueError(f"it has {file.size:,} bytes, expected a few lines")
        names = _PREFIX.findall(file.read(0, file.size).decode("utf-8"))
        if len(names) != 1 or (found := _NAME.fullmatch(names[0])) is None:
            raise ValueError(f"it has {names!r:.200} as model_checkpoint_path: expected one name in this directory")
        return found[2]
