"""How a model reads one new token a sequence on a GPU: with its own matrix products, or with five kernels a layer.

Both append to a cache of LiveLayers and look at the keys that a row holds only. The twin is ``GPT`` over a StaticCache.

B rows, C emb_dim, V vocabulary
"""

from __future__ import annotations

from typing import cast

from torch import Tensor, nn

from glassgpt.kernels.decode_attention import DecodeAttention, LiveLayer, attend_parts, parts
from glassgpt.kernels.few_rows_gpu import add_linear, add_linear_of_parts, embed, norm_linear, norm_qkv
from glassgpt.kernels.likeliest import likeliest
from glassgpt.model.cache import Cache
from glassgpt.model.gpt import GPT, Attention, Block, use_attention
from glassgpt.model.static_cache import StaticCache

FEW_ROWS = 4  # above which a matrix product for many rows is faster than one for each


class LiveReader:
    """The model itself with decode attention: for batches."""

    layer = LiveLayer

    def __init__(self, model: GPT):
        self.model = model

    def __call__(self, tokens: Tensor, cache: StaticCache) -> Tensor:
        """Logits (B, V) after ``tokens`` (B, 1)."""
        before = next(module.attend for module in self.model.modules() if isinstance(module, Attention))
        use_attention(self.model, DecodeAttention(cache.rows))
        try:
            hidden = self.model.hidden(tokens, cast(Cache, cache))  # (B, 1, C)
        finally:
            use_attention(self.model, before)
        return self.model.unembed(hidden[:, -1])

    def likeliest(self, logits: Tensor) -> tuple[Tensor, Tensor]:
        """The likeliest ids (B,) and their log-probabilities (B,)."""
        return likeliest(logits)


class FusedReader(LiveReader):
    """Few rows go through fused kernels, in float32 from the embedding to the logits; more of them as in LiveReader.

    The model is a plain one: nothing quantized, no hooks, on one device.
    """

    def __call__(self, tokens: Tensor, cache: StaticCache) -> Tensor:
        """Logits (B, V) after ``tokens`` (B, 1)."""
        model, config = self.model, self.model.config
        if len(tokens) > FEW_ROWS:
            return super().__call__(tokens, cache)
        x = embed(tokens, cache.begin(1), model.token_embedding.weight, model.position_embedding.weight)  # (B, C)
        # Half as many parts as there could be: every program of the projection reads all of them.
        P = max(1, parts(len(tokens) * config.num_heads, cache.capacity) // 2)
        for block, layer in zip(model.blocks, cache.layers, strict=True):
            assert isinstance(block, Block) and isinstance(layer, LiveLayer)
            q = norm_qkv(x, block.attention_norm, block.attention.qkv, layer, config.head_dim)  # (B, H, 1, D)
            add_linear_of_parts(x, attend_parts(q, layer.k, layer.v, cache.rows, cache.slots, P), block.attention.out)
            h = norm_linear(x, block.mlp_norm, block.mlp.up.weight, block.mlp.up.bias, gelu=True)  # (B, 4 * C)
            add_linear(x, h, block.mlp.down)
        cache.end(1)
        head = model.head if isinstance(model.head, nn.Linear) else model.token_embedding
        return norm_linear(x, model.final_norm, head.weight, None)
