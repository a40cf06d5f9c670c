"""nanoGPT as a peer: its model.py, which may lie anywhere, and a model of it in the shape of one of ours."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import Any

from glassgpt.model.config import ModelConfig


def build(path: Path, config: ModelConfig, vocab_multiple: int = 1) -> Any:
    """nanoGPT's model without dropout and bias, as its recipes have it; its vocabulary is padded to a multiple."""
    spec = importlib.util.spec_from_file_location("nanogpt_model", path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.GPT(
        module.GPTConfig(
            block_size=config.context_length,
            vocab_size=-(-config.vocab_size // vocab_multiple) * vocab_multiple,
            n_layer=config.num_layers,
            n_head=config.num_heads,
            n_embd=config.emb_dim,
            dropout=0.0,
            bias=False,
        )
    )
