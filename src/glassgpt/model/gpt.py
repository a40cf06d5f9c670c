"""The model: token ids in, logits out. Knows nothing of devices, losses, sampling or files.

B batch, T tokens, H heads, D head_dim, C emb_dim, V vocabulary
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from glassgpt.model.attention import Attend, attend
from glassgpt.model.cache import Cache, LayerCache
from glassgpt.model.config import ModelConfig
from glassgpt.model.keys import key


class Attention(nn.Module):
    """Causal multi-head self-attention over x (B, T, C)."""

    def __init__(self, config: ModelConfig):
        super().__init__()
        self.head_dim = config.head_dim
        self.dropout = config.dropout
        self.attend: Attend = attend
        # The rows of qkv are ordered (head, q|k|v, dim), so that any contiguous share of them is a set of whole heads.
        self.qkv = nn.Linear(config.emb_dim, 3 * config.emb_dim, bias=config.qkv_bias)
        self.out = nn.Linear(config.emb_dim, config.emb_dim)

    def forward(self, x: Tensor, cache: LayerCache | None) -> Tensor:
        B, T, _ = x.shape
        # The number of heads is left open (-1): a tensor-parallel rank holds a share of them.
        q, k, v = self.qkv(x).view(B, T, -1, 3, self.head_dim).permute(3, 0, 2, 1, 4)  # each (B, H, T, D)
        visible = None
        if cache is not None:
            k, v, visible = cache.append(k, v)
        y = self.attend(q, k, v, visible, self.dropout if self.training else 0.0)
        return self.out(y.transpose(1, 2).reshape(B, T, -1))


class MLP(nn.Module):
    """The feed-forward part: four times as wide inside, tanh-approximated GELU."""

    def __init__(self, config: ModelConfig):
        super().__init__()
        self.up = nn.Linear(config.emb_dim, 4 * config.emb_dim)
        self.down = nn.Linear(4 * config.emb_dim, config.emb_dim)

    def forward(self, x: Tensor) -> Tensor:
        return self.down(F.gelu(self.up(x), approximate="tanh"))


class Block(nn.Module):
    """One transformer block: attention and feed-forward, each normalised before and added to its input."""

    def __init__(self, config: ModelConfig):
        super().__init__()
        self.attention_norm = nn.LayerNorm(config.emb_dim, eps=config.norm_eps)
        self.attention = Attention(config)
        self.mlp_norm = nn.LayerNorm(config.emb_dim, eps=config.norm_eps)
        self.mlp = MLP(config)
        self.dropout = nn.Dropout(config.dropout)

    def forward(self, x: Tensor, cache: LayerCache | None) -> Tensor:
        x = x + self.dropout(self.attention(self.attention_norm(x), cache))
        return x + self.dropout(self.mlp(self.mlp_norm(x)))


class GPT(nn.Module):
    """A GPT-2 or GPT-3 language model: ``logits = GPT(config)(tokens)``.

    Weights start as PyTorch makes them, as in the book; ``initialize`` gives GPT-2's. Built under
    ``torch.device("meta")`` a model of any size costs nothing. Source: Radford et al. 2019; Brown et al. 2020.
    """

    def __init__(self, config: ModelConfig):
        super().__init__()
        self.config = config
        self.token_embedding = nn.Embedding(config.vocab_size, config.emb_dim)
        self.position_embedding = nn.Embedding(config.context_length, config.emb_dim)
        self.dropout = nn.Dropout(config.dropout)
        self.blocks = nn.ModuleList(Block(config) for _ in range(config.num_layers))
        self.final_norm = nn.LayerNorm(config.emb_dim, eps=config.norm_eps)
        # A tied head is the token embedding used twice, never a second parameter.
        self.head: nn.Module | None = None
        if not config.tied_head:
            self.head = nn.Linear(config.emb_dim, config.vocab_size, bias=False)

    def forward(self, tokens: Tensor, cache: Cache | None = None) -> Tensor:
        """Logits (B, T, V) of the next token at every position of ``tokens`` (B, T)."""
        return self.unembed(self.hidden(tokens, cache))

    def hidden(self, tokens: Tensor, cache: Cache | None = None) -> Tensor:
        """The last hidden states (B, T, C), normalised: what ``unembed`` turns into logits."""
        T = tokens.shape[1]
        if T > self.config.context_length:
            raise ValueError(f"{T} tokens do not fit the context of {self.config.context_length}: shorten the input")
        positions = torch.arange(T, device=tokens.device) if cache is None else cache.begin(T)
        x = self.dropout(self.token_embedding(tokens) + self.position_embedding(positions))
        for i, block in enumerate(self.blocks):
            x = block(x, None if cache is None else cache.layers[i])
        if cache is not None:
            cache.end(T)
        return self.final_norm(x)

    def unembed(self, hidden: Tensor) -> Tensor:
        """Logits (..., V) of hidden states (..., C)."""
        return F.linear(hidden, self.token_embedding.weight) if self.head is None else self.head(hidden)


def initialize(model: GPT, seed: int) -> GPT:
    """Fills the weights as GPT-2 did and returns the model: normal(0, 0.02), projections into the residual stream
    divided by sqrt(2 * num_layers), norms 1, biases 0.

    Each parameter has a generator of its own, keyed by (seed, name): adding one changes no other.
    """
    deep = (2 * model.config.num_layers) ** -0.5
    for name, parameter in model.named_parameters():
        if name.endswith("bias"):
            nn.init.zeros_(parameter)
        elif "norm" in name:
            nn.init.ones_(parameter)
        else:
            into_residual = name.endswith(("attention.out.weight", "mlp.down.weight"))
            generator = torch.Generator(parameter.device).manual_seed(key("weights", 1, seed, name))
            nn.init.normal_(parameter, 0.0, 0.02 * (deep if into_residual else 1.0), generator=generator)
    return model


def use_attention(model: nn.Module, attend: Attend) -> None:
    """Gives every attention layer of the model another ``attend``."""
    for module in model.modules():
        if isinstance(module, Attention):
            module.attend = attend
