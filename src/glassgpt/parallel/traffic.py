"""How many bytes a rank sends while its world takes one step: arithmetic on the configurations, without torch.

Counts the ring algorithms: among n ranks an all-gather or a reduce-scatter of b bytes sends (n - 1) / n * b, an
all-reduce twice as much. Knows nothing of networks.
"""

from __future__ import annotations

from glassgpt.model.config import ModelConfig
from glassgpt.parallel.config import ParallelConfig

FLOAT32, BFLOAT16 = 4, 2  # bytes a number


def sent_bytes(
    config: ModelConfig, parallel: ParallelConfig, size: int, rows: int, micro_steps: int = 1, width: int = BFLOAT16
) -> dict[str, float]:
    """Bytes that one of ``size`` ranks sends in a step over ``micro_steps`` micro-batches of ``rows`` full windows.

    "data" is what replicas exchange: gradients in float32 once a step and, under "fsdp", weights of ``width`` bytes
    twice a micro-step, for the forward and for the backward pass. "tensor" is what the ranks of a group exchange:
    activations of ``width`` bytes, four times a layer and once each for embedding and head.
    """
    n, t = parallel.replicas(size), parallel.tensor
    held = config.num_parameters / t
    gradients = (n - 1) / n * held * FLOAT32
    weights = (n - 1) / n * held * width
    activations = rows * config.context_length * config.emb_dim * width
    return {
        "data": 2 * gradients if parallel.data == "ddp" else gradients + 2 * micro_steps * weights,
        "tensor": micro_steps * (4 * config.num_layers + 2) * 2 * (t - 1) / t * activations,
    }
