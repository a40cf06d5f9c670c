"""How many parameters and bytes a model of the family takes: arithmetic on its configuration, without torch.

V vocabulary, T context, d emb_dim, L layers; bytes are bytes
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from glassgpt.model.config import ModelConfig

Dtype = Literal["float32", "bfloat16"]
MIB, GIB = 2**20, 2**30
WIDTH: dict[Dtype, int] = {"float32": 4, "bfloat16": 2}  # bytes a number


def parameters(config: ModelConfig) -> dict[str, int]:
    """Parameters of the whole model by part; a tied head has none of its own. Their sum is ``num_parameters``."""
    V, T, d, L = config.vocab_size, config.context_length, config.emb_dim, config.num_layers
    block = block_parameters(config)
    return {
        "token_embedding": V * d,
        "position_embedding": T * d,
        "attention": L * block["attention"],
        "feed_forward": L * block["feed_forward"],
        "norms": L * block["norms"] + 2 * d,
        "head": 0 if config.tied_head else V * d,
    }


def block_parameters(config: ModelConfig) -> dict[str, int]:
    """Parameters of one transformer block by part."""
    d = config.emb_dim
    return {
        "attention": 4 * d * d + d + (3 * d if config.qkv_bias else 0),
        "feed_forward": 8 * d * d + 5 * d,
        "norms": 4 * d,
    }


@dataclass(frozen=True)
class Recipe:
    """Bytes a parameter takes while AdamW trains it."""

    weights: int
    gradients: int
    optimizer: int


# In bfloat16 a working copy computes beside the float32 master, and gradients of micro-batches are summed in float32.
# Source: Micikevicius et al. 2018, https://arxiv.org/abs/1710.03740.
RECIPES: dict[Dtype, Recipe] = {
    "float32": Recipe(weights=4, gradients=4, optimizer=8),
    "bfloat16": Recipe(weights=2 + 4, gradients=2 + 4, optimizer=8),
}


def training_memory(
    config: ModelConfig,
    dtype: Dtype,
    batch: int,
    context: int,
    micro_steps: int = 2,
    optimizer: Literal["adamw", "muon"] = "adamw",
    fused_logits: int | None = None,
) -> dict[str, int]:
    """Bytes at the fullest moment of a step over ``micro_steps`` micro-batches of ``batch`` windows, with the plain
    loss, or with the fused one, of which no more than ``fused_logits`` bytes of logits exist at once.

    That is one of three: when the last backward pass begins, with all activations; when it ends, with all gradients;
    when Muon orthogonalises the matrices of one kind. Activations go while gradients come, so nothing between is
    fuller. Counts no dropout, no recomputation, and attention without a stored score matrix.
    """
    recipe, N, tokens = RECIPES[dtype], config.num_parameters, batch * context
    held = {"weights": N * recipe.weights, "optimizer": N * recipe.optimizer}
    hidden = 12 * config.num_layers * config.emb_dim**2  # what Muon is for, with one moment instead of two
    if optimizer == "muon":
        held["optimizer"] -= 4 * hidden
    summed = 4 * N if dtype == "bfloat16" or micro_steps > 1 else 0
    # A tied embedding gets two gradients; beside their sum both are there, of the fused loss's only one.
    parts = 2 if fused_logits is None else 1
    tied = parts * config.vocab_size * config.emb_dim * WIDTH[dtype] if config.tied_head else 0
    begin = {"gradients": summed, "activations": tokens * activation_bytes(config, dtype)}
    if fused_logits is None:
        begin["logits"] = tokens * logit_bytes(config)
    else:
        begin["logits"] = fused_loss_bytes(config, dtype, tokens, fused_logits)
    end = {"gradients": N * recipe.gradients + tied, "activations": 0, "logits": 0}
    moments = [begin, end]
    if optimizer == "muon":  # of the largest kind three copies, each a third of all, and three squares
        moments.append({"gradients": 4 * N + 4 * (hidden + hidden // 4), "activations": 0, "logits": 0})
    fullest = max(moments, key=lambda parts: sum(parts.values()))
    names = ("weights", "gradients", "optimizer", "activations", "logits")
    return {name: (held | fullest)[name] for name in names}


def activation_bytes(config: ModelConfig, dtype: Dtype) -> int:
    """Bytes a token leaves behind for the backward pass, logits apart.

    A layer keeps 16 d numbers: its input d, the norm's output d, query, key and value 3d, the heads' output d, the sum
    d, the second norm's output d, the feed-forward's inner layer before and after GELU 8d. The last norm keeps 2d.
    """
    return (16 * config.num_layers + 2) * config.emb_dim * WIDTH[dtype]


def logit_bytes(config: ModelConfig) -> int:
    """Bytes of a token's logits while the loss is differentiated, in float32 whatever computes them: log-probabilities,
    the gradient with respect to them, and the gradient with respect to the logits."""
    return 3 * 4 * config.vocab_size


def fused_loss_bytes(config: ModelConfig, dtype: Dtype, tokens: int, at_once: int) -> int:
    """Bytes of a loss whose gradients are made in the forward pass, some logits at a time, in ``dtype``: these logits,
    and the gradients of the head and of what it reads; of the head's two, while one chunk is added to the others."""
    V, d, width = config.vocab_size, config.emb_dim, WIDTH[dtype]
    logits = tokens * V * width
    return min(logits, at_once) + tokens * d * width + (1 if logits <= at_once else 2) * V * d * width


def generation_memory(config: ModelConfig, dtype: Dtype, batch: int, context: int) -> dict[str, int]:
    """Bytes while generating ``batch`` texts of up to ``context`` tokens at once: weights, keys and values."""
    return {
        "weights": config.num_parameters * WIDTH[dtype],
        "key_value_cache": batch * context * cache_bytes(config, dtype),
    }


def cache_bytes(config: ModelConfig, dtype: Dtype) -> int:
    """Bytes of the keys and values of one token."""
    return 2 * config.num_layers * config.emb_dim * WIDTH[dtype]
