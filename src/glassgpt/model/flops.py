"""How many FLOPs a token takes, forward and in training: arithmetic on the configuration, without torch.

V vocabulary, d emb_dim, L layers; a multiplication and an addition are two FLOPs
"""

from __future__ import annotations

from glassgpt.model.config import ModelConfig


def forward_flops(config: ModelConfig, context: int, *, causal: bool = True) -> dict[str, int]:
    """FLOPs of the forward pass for one token by part, averaged over a window of ``context`` tokens.

    ``causal`` counts the scores a token needs, those of itself and the past; otherwise all context x context of them,
    as a plain matrix product computes and as model FLOPs utilisation is usually quoted. Norms, GELU, softmax and
    additions are not counted: they are bound by memory and far below one per cent.
    """
    V, d, L = config.vocab_size, config.emb_dim, config.num_layers
    return {
        "attention_projections": 8 * L * d * d,
        "attention_scores": 2 * L * d * (context + 1) if causal else 4 * L * d * context,
        "feed_forward": 16 * L * d * d,
        "head": 2 * V * d,
    }


def training_flops(config: ModelConfig, context: int, *, causal: bool = True) -> int:
    """FLOPs of training on one token: the backward pass costs two forward passes; recomputation is not counted."""
    return 3 * sum(forward_flops(config, context, causal=causal).values())
