"""Hugging Face's config.json of GPT-2 from and to ours. Imports no torch, so that a model can be described at once.

Source: transformers' GPT2Config; ``n_ctx`` and ``torch_dtype`` are there for older readers.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from glassgpt.model.config import ModelConfig
from glassgpt.weights.untrusted import config_of

if TYPE_CHECKING:
    import torch

log = logging.getLogger(__name__)

QUANTIZED = "quantized.safetensors"  # lies beside such a config.json where the weights are quantized

# GPT2Config's settings -> our configuration.
_FIELDS = {
    "vocab_size": "vocab_size",
    "n_positions": "context_length",
    "n_embd": "emb_dim",
    "n_head": "num_heads",
    "n_layer": "num_layers",
    "resid_pdrop": "dropout",
    "layer_norm_epsilon": "norm_eps",
    "tie_word_embeddings": "tied_head",
    "qkv_bias": "qkv_bias",
}

# Settings that would change the computation, and the values this model computes.
_EXPECTED: dict[str, tuple[Any, ...]] = {
    "model_type": ("gpt2",),
    "activation_function": ("gelu_new", "gelu_pytorch_tanh"),
    "scale_attn_weights": (True,),
    "scale_attn_by_inverse_layer_idx": (False,),
    "add_cross_attention": (False,),
}


def config_to_json(config: ModelConfig, dtype: torch.dtype, eot: int | None) -> dict[str, Any]:
    """The config.json of a model; ``qkv_bias`` is ours (GPT2LMHeadModel always has that bias, zero if we have none)."""
    name = str(dtype).removeprefix("torch.")
    return {
        "model_type": "gpt2",
        "architectures": ["GPT2LMHeadModel"],
        "vocab_size": config.vocab_size,
        "n_positions": config.context_length,
        "n_ctx": config.context_length,
        "n_embd": config.emb_dim,
        "n_layer": config.num_layers,
        "n_head": config.num_heads,
        "n_inner": None,
        "activation_function": "gelu_new",
        "layer_norm_epsilon": config.norm_eps,
        "attn_pdrop": config.dropout,
        "embd_pdrop": config.dropout,
        "resid_pdrop": config.dropout,
        "initializer_range": 0.02,
        "scale_attn_weights": True,
        "scale_attn_by_inverse_layer_idx": False,
        "reorder_and_upcast_attn": False,
        "bos_token_id": eot,
        "eos_token_id": eot,
        "tie_word_embeddings": config.tied_head,
        "qkv_bias": config.qkv_bias,
        "dtype": name,
        "torch_dtype": name,
    }


def config_from_json(settings: Mapping[str, Any]) -> ModelConfig:
    """The ModelConfig of a config.json.

    Raises:
        ValueError: it is not GPT-2's, lacks a size, or asks for a variant this model does not compute.
    """
    defaults = {"model_type": None, "activation_function": "gelu_new", "scale_attn_weights": True}
    for key, allowed in _EXPECTED.items():
        if (value := settings.get(key, defaults.get(key, False))) not in allowed:
            expected = " or ".join(map(repr, allowed))
            raise ValueError(f"config.json has {key} {value!r:.100}, this model computes {expected}")
    sizes = list(_FIELDS)[:5]  # the rest may be absent
    if missing := [key for key in sizes if key not in settings]:
        raise ValueError(f"config.json lacks {', '.join(missing)}: a GPT-2 configuration has {', '.join(sizes)}")
    given = {ours: settings[theirs] for theirs, ours in _FIELDS.items() if theirs in settings}
    config = config_of({"dropout": 0.1} | given)
    if (inner := settings.get("n_inner")) not in (None, width := 4 * config.emb_dim):
        raise ValueError(f"config.json has n_inner {inner!r:.100}, this model computes 4 * n_embd = {width}")
    dropouts = {key: settings.get(key, 0.1) for key in ("resid_pdrop", "embd_pdrop", "attn_pdrop")}
    if any(rate != config.dropout for rate in dropouts.values()):
        log.warning("config.json has different dropout rates %s: resid_pdrop is used for all", dropouts)
    return config
