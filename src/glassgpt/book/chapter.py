"""The model of chapter 4, piece by piece in the chapter's order, with the book's names. Knows only PyTorch.

Each class does what its listing does, to the last digit: weights are created in the same order and dropout draws at the
same places, so a seed gives the printed numbers. Nothing here is fast, and everything fast is tested against it.

B texts, T tokens, H heads, D head_dim, C emb_dim, V vocabulary
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import tiktoken
import torch
from torch import Tensor, nn

if TYPE_CHECKING:
    from glassgpt.tokenizer.tokenizer import Tokenizer


class LayerNorm(nn.Module):
    """Listing 4.2: gives every vector mean 0 and variance 1, then a learned scale and shift."""

    def __init__(self, emb_dim: int):
        super().__init__()
        self.eps = 1e-5  # keeps the division safe where a vector is constant
        self.scale = nn.Parameter(torch.ones(emb_dim))
        self.shift = nn.Parameter(torch.zeros(emb_dim))

    def forward(self, x: Tensor) -> Tensor:
        mean = x.mean(dim=-1, keepdim=True)
        # Divided by n, not n - 1: the published weights were trained with this variance.
        var = x.var(dim=-1, keepdim=True, unbiased=False)
        norm_x = (x - mean) / torch.sqrt(var + self.eps)
        return self.scale * norm_x + self.shift


class GELU(nn.Module):
    """Listing 4.3: the smooth activation of GPT-2, in the tanh approximation it was trained with.

    Source: Hendrycks and Gimpel 2016, https://arxiv.org/abs/1606.08415.
    """

    def forward(self, x: Tensor) -> Tensor:
        inner = torch.sqrt(torch.tensor(2.0 / torch.pi)) * (x + 0.044715 * torch.pow(x, 3))
        return 0.5 * x * (1 + torch.tanh(inner))


class FeedForward(nn.Module):
    """Listing 4.4: widens each vector four times, applies GELU and narrows it again."""

    def __init__(self, cfg: dict[str, Any]):
        super().__init__()
        self.layers = nn.Sequential(
            nn.Linear(cfg["emb_dim"], 4 * cfg["emb_dim"]),
            GELU(),
            nn.Linear(4 * cfg["emb_dim"], cfg["emb_dim"]),
        )

    def forward(self, x: Tensor) -> Tensor:
        return self.layers(x)


class ExampleDeepNeuralNetwork(nn.Module):
    """Listing 4.5: five small layers that show what shortcut connections do to gradients.

    ``layer_sizes`` names six widths; a layer whose output is as wide as its input gets a shortcut.
    """

    def __init__(self, layer_sizes: list[int], use_shortcut: bool):
        super().__init__()
        self.use_shortcut = use_shortcut
        self.layers = nn.ModuleList(
            nn.Sequential(nn.Linear(layer_sizes[i], layer_sizes[i + 1]), GELU()) for i in range(5)
        )

    def forward(self, x: Tensor) -> Tensor:
        for layer in self.layers:
            layer_output = layer(x)
            x = x + layer_output if self.use_shortcut and x.shape == layer_output.shape else layer_output
        return x


def gradient_means(model: nn.Module, x: Tensor) -> dict[str, float]:
    """Section 4.4: the mean absolute gradient of each weight matrix, for a squared error against 0.

    The chapter's ``print_gradients`` prints these numbers; here they are returned.
    """
    loss = nn.MSELoss()(model(x), torch.tensor([[0.0]]))
    loss.backward()
    return {
        name: parameter.grad.abs().mean().item()
        for name, parameter in model.named_parameters()
        if "weight" in name and parameter.grad is not None
    }


class MultiHeadAttention(nn.Module):
    """Listing 3.5 (chapter 3): every token looks at itself and at the tokens before it, in several heads at once.

    Takes and returns vectors (B, T, d_in) and (B, T, d_out).

    Raises:
        ValueError: the heads do not divide ``d_out``.
    """

    mask: Tensor

    def __init__(
        self, d_in: int, d_out: int, context_length: int, dropout: float, num_heads: int, qkv_bias: bool = False
    ):
        super().__init__()
        if d_out % num_heads:
            raise ValueError(f"d_out {d_out} is not divisible by num_heads {num_heads}: choose a multiple")
        self.d_out = d_out
        self.num_heads = num_heads
        self.head_dim = d_out // num_heads
        self.W_query = nn.Linear(d_in, d_out, bias=qkv_bias)
        self.W_key = nn.Linear(d_in, d_out, bias=qkv_bias)
        self.W_value = nn.Linear(d_in, d_out, bias=qkv_bias)
        self.out_proj = nn.Linear(d_out, d_out)
        self.dropout = nn.Dropout(dropout)
        self.register_buffer("mask", torch.triu(torch.ones(context_length, context_length), diagonal=1))

    def forward(self, x: Tensor) -> Tensor:
        b, num_tokens, _ = x.shape
        keys = self.W_key(x)  # (B, T, d_out)
        queries = self.W_query(x)
        values = self.W_value(x)

        keys = keys.view(b, num_tokens, self.num_heads, self.head_dim).transpose(1, 2)  # (B, H, T, D)
        queries = queries.view(b, num_tokens, self.num_heads, self.head_dim).transpose(1, 2)
        values = values.view(b, num_tokens, self.num_heads, self.head_dim).transpose(1, 2)

        attn_scores = queries @ keys.transpose(2, 3)  # (B, H, T, T)
        future = self.mask.bool()[:num_tokens, :num_tokens]
        attn_scores.masked_fill_(future, -torch.inf)
        attn_weights = torch.softmax(attn_scores / keys.shape[-1] ** 0.5, dim=-1)
        attn_weights = self.dropout(attn_weights)

        context_vec = (attn_weights @ values).transpose(1, 2)  # (B, T, H, D)
        context_vec = context_vec.contiguous().view(b, num_tokens, self.d_out)
        return self.out_proj(context_vec)


class TransformerBlock(nn.Module):
    """Listing 4.6: attention, then feed forward; each sees a normalised input and adds its result to what came in."""

    def __init__(self, cfg: dict[str, Any]):
        super().__init__()
        self.att = MultiHeadAttention(
            d_in=cfg["emb_dim"],
            d_out=cfg["emb_dim"],
            context_length=cfg["context_length"],
            num_heads=cfg["n_heads"],
            dropout=drop_rate(cfg, "attn"),
            qkv_bias=cfg["qkv_bias"],
        )
        self.ff = FeedForward(cfg)
        self.norm1 = LayerNorm(cfg["emb_dim"])
        self.norm2 = LayerNorm(cfg["emb_dim"])
        self.drop_shortcut = nn.Dropout(drop_rate(cfg, "shortcut"))

    def forward(self, x: Tensor) -> Tensor:
        shortcut = x
        x = self.norm1(x)
        x = self.att(x)
        x = self.drop_shortcut(x)
        x = x + shortcut

        shortcut = x
        x = self.norm2(x)
        x = self.ff(x)
        x = self.drop_shortcut(x)
        return x + shortcut


class GPTModel(nn.Module):
    """Listing 4.7: the whole model, with every placeholder of listing 4.1 replaced.

    Takes token ids (B, T) and returns logits (B, T, V).
    """

    def __init__(self, cfg: dict[str, Any]):
        super().__init__()
        self.tok_emb = nn.Embedding(cfg["vocab_size"], cfg["emb_dim"])
        self.pos_emb = nn.Embedding(cfg["context_length"], cfg["emb_dim"])
        self.drop_emb = nn.Dropout(drop_rate(cfg, "emb"))
        self.trf_blocks = nn.Sequential(*[TransformerBlock(cfg) for _ in range(cfg["n_layers"])])
        self.final_norm = LayerNorm(cfg["emb_dim"])
        self.out_head = nn.Linear(cfg["emb_dim"], cfg["vocab_size"], bias=False)

    def forward(self, in_idx: Tensor) -> Tensor:
        _, seq_len = in_idx.shape
        tok_embeds = self.tok_emb(in_idx)
        pos_embeds = self.pos_emb(torch.arange(seq_len, device=in_idx.device))
        x = self.drop_emb(tok_embeds + pos_embeds)
        x = self.trf_blocks(x)
        x = self.final_norm(x)
        return self.out_head(x)


def drop_rate(cfg: dict[str, Any], place: str) -> float:
    """Exercise 4.3: the drop rate of one place (``emb``, ``attn`` or ``shortcut``), else the one for all places."""
    own = f"drop_rate_{place}"
    return cfg[own] if own in cfg else cfg["drop_rate"]


def generate_text_simple(model: nn.Module, idx: Tensor, max_new_tokens: int, context_size: int) -> Tensor:
    """Listing 4.8: appends the most likely token ``max_new_tokens`` times to ids (B, T); returns all of them."""
    for _ in range(max_new_tokens):
        idx_cond = idx[:, -context_size:]
        with torch.no_grad():
            logits = model(idx_cond)
        logits = logits[:, -1, :]  # (B, V): only the last position says what comes next
        # softmax keeps the order, so argmax of the logits would do; the step stays for what replaces argmax later.
        probas = torch.softmax(logits, dim=-1)
        idx_next = torch.argmax(probas, dim=-1, keepdim=True)  # (B, 1)
        idx = torch.cat((idx, idx_next), dim=1)
    return idx


def text_to_token_ids(text: str, tokenizer: Tokenizer | tiktoken.Encoding) -> Tensor:
    """Listing 5.1 (chapter 5): the ids of a text as a batch of one, (1, T); ``<|endoftext|>`` becomes its own token."""
    if isinstance(tokenizer, tiktoken.Encoding):
        encoded = tokenizer.encode(text, allowed_special={"<|endoftext|>"})
    else:
        encoded = tokenizer.encode(text, special=True)
    return torch.tensor(encoded).unsqueeze(0)


def token_ids_to_text(token_ids: Tensor, tokenizer: Tokenizer | tiktoken.Encoding) -> str:
    """Listing 5.1 (chapter 5): the text of a batch of one, (1, T)."""
    return tokenizer.decode(token_ids.squeeze(0).tolist())
