"""What the dictionaries in nanoGPT's ``ckpt.pt`` mean: the configuration in its ``model_args``. Imports no torch."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from glassgpt.model.config import ModelConfig
from glassgpt.weights.untrusted import config_of

# nanoGPT's model_args -> ours.
NANOGPT_ARGUMENTS = {
    "vocab_size": "vocab_size",
    "block_size": "context_length",
    "n_embd": "emb_dim",
    "n_head": "num_heads",
    "n_layer": "num_layers",
    "dropout": "dropout",
    "bias": "qkv_bias",
}


def nanogpt_config(arguments: Mapping[Any, Any]) -> ModelConfig:
    """The configuration of a checkpoint's ``model_args``; ValueError for what it does not know."""
    if unknown := [str(name)[:100] for name in arguments if name not in NANOGPT_ARGUMENTS]:
        raise ValueError(f"its model_args have {', '.join(unknown)}: expected {', '.join(NANOGPT_ARGUMENTS)}")
    return config_of({NANOGPT_ARGUMENTS[name]: value for name, value in arguments.items()})


def nanogpt_part(content: Any, key: str) -> dict[Any, Any]:
    """The dictionary under a key of a checkpoint."""
    if not isinstance(content, dict) or not isinstance(part := content.get(key), dict):
        keys = (
            f"a dictionary of {', '.join(repr(k)[:40] for k in list(content)[:8])}" if isinstance(content, dict) else ""
        )
        raise ValueError(f"it holds {keys or type(content).__name__}, no {key}: neither nanoGPT's nor the book's")
    return part
