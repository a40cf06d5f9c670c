"""The loss on held-out text: the same windows every time, no randomness, the model left as it was found."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable

import torch
from torch import Tensor, nn

from glassgpt.tokenizer.tokenizer import Tokenizer


def measure(
    objective: nn.Module, batches: Iterable[tuple[Tensor, Tensor]], bytes_per_token: Tensor, stop: Callable[[], bool]
) -> tuple[float, float] | None:
    """(nats a token, bits a byte) over all batches, or None when ``stop()`` came true in between.

    Bits a byte is the sum of the losses over ln 2, divided by the bytes that the predicted tokens stand for.
    """
    device = bytes_per_token.device
    was_training = objective.training
    objective.eval()
    nats, num_tokens, num_bytes = 0.0, 0, 0
    try:
        with torch.inference_mode():
            for tokens, targets in batches:
                if stop():
                    return None
                tokens, targets = tokens.to(device), targets.to(device)
                nats += objective(tokens, targets).item() * targets.numel()
                num_tokens += targets.numel()
                num_bytes += int(bytes_per_token[targets].sum())
    finally:
        objective.train(was_training)
    return nats / num_tokens, nats / math.log(2) / max(1, num_bytes)


def bytes_per_token(tokenizer: Tokenizer, device: torch.device) -> Tensor:
    """How many bytes of text each token stands for, (V,); ``<|endoftext|>`` stands for none."""
    lengths = [len(tokenizer.token_bytes(id)) for id in range(tokenizer.vocab_size)]
    lengths[tokenizer.eot] = 0
    return torch.tensor(lengths, device=device)
