"""The placeholder of section 4.1: every part of a GPT in its place, none of them working yet. Knows only PyTorch.

Listing 4.1 is step 1, DummyGPTModel; figures 4.2, 4.3 and 4.4 show where it stands. Tokenizer and embeddings come from
chapter 2, attention and dropout from chapter 3; pretrained weights are loaded in chapter 6 by the text's count (section
5.5 of the printed book).
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

GPT_CONFIG_124M: dict[str, Any] = {
    "vocab_size": 50257,  # what the tokenizer of GPT-2 knows
    "context_length": 1024,  # the most tokens the model can look at
    "emb_dim": 768,  # the width of a token's vector
    "n_heads": 12,
    "n_layers": 12,
    "drop_rate": 0.1,
    "qkv_bias": False,  # the published weights have this bias, later models do without
}


class DummyGPTModel(nn.Module):
    """Listing 4.1: embeddings and an output layer, with empty blocks between them.

    Takes token ids (B, T) and returns logits (B, T, vocab_size).
    """

    def __init__(self, cfg: dict[str, Any]):
        super().__init__()
        self.tok_emb = nn.Embedding(cfg["vocab_size"], cfg["emb_dim"])
        self.pos_emb = nn.Embedding(cfg["context_length"], cfg["emb_dim"])
        self.drop_emb = nn.Dropout(cfg["drop_rate"])
        self.trf_blocks = nn.Sequential(*[DummyTransformerBlock(cfg) for _ in range(cfg["n_layers"])])
        self.final_norm = DummyLayerNorm(cfg["emb_dim"])
        self.out_head = nn.Linear(cfg["emb_dim"], cfg["vocab_size"], bias=False)

    def forward(self, in_idx: Tensor) -> Tensor:
        _, seq_len = in_idx.shape
        tok_embeds = self.tok_emb(in_idx)
        pos_embeds = self.pos_emb(torch.arange(seq_len, device=in_idx.device))
        x = self.drop_emb(tok_embeds + pos_embeds)
        x = self.trf_blocks(x)
        x = self.final_norm(x)
        return self.out_head(x)


class DummyTransformerBlock(nn.Module):
    """Listing 4.1: returns its input; ``TransformerBlock`` takes its place in section 4.5."""

    def __init__(self, cfg: dict[str, Any]):
        super().__init__()

    def forward(self, x: Tensor) -> Tensor:
        return x


class DummyLayerNorm(nn.Module):
    """Listing 4.1: returns its input; ``LayerNorm`` takes its place in section 4.2.

    The arguments are those of ``nn.LayerNorm``, and nothing is done with them.
    """

    def __init__(self, normalized_shape: int, eps: float = 1e-5):
        super().__init__()

    def forward(self, x: Tensor) -> Tensor:
        return x
