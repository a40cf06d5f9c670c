"""The attention core is a function: put one in its place that keeps the patterns, and look at them."""

import torch

from glassgpt.model.config import ModelConfig
from glassgpt.model.gpt import GPT, use_attention

model = GPT(ModelConfig(vocab_size=100, emb_dim=48, num_layers=2, num_heads=3, context_length=16)).eval()
patterns = []


def recording(q, k, v, visible, dropout):
    """Attention written out, as in the chapter, with its weights kept."""
    scores = q @ k.transpose(2, 3) / q.shape[3] ** 0.5  # (B, H, T, T)
    hidden_future = torch.ones(scores.shape[2:], dtype=torch.bool).triu(1)
    weights = scores.masked_fill(hidden_future, float("-inf")).softmax(-1)
    patterns.append(weights)
    return weights @ v


tokens = torch.randint(100, (1, 8))
expected = model(tokens)
use_attention(model, recording)
print("same logits:", torch.allclose(model(tokens), expected, atol=1e-5))

for layer, weights in enumerate(patterns):
    print(f"layer {layer}, head 0")
    for row in weights[0, 0]:
        print("  " + "".join(" ░▒▓█"[min(4, int(weight * 5))] for weight in row))
