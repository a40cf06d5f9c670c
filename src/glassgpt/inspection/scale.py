"""What each of many devices holds, computes and sends in a training step: arithmetic, without torch.

An estimate: it knows no latency, no topology and no stragglers.

n replicas, t ranks that share each matrix
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from glassgpt.inspection.plan import RECIPES, WIDTH, activation_bytes, block_parameters, logit_bytes
from glassgpt.inspection.plan_figures import Setup
from glassgpt.model.flops import training_flops
from glassgpt.parallel.config import ParallelConfig
from glassgpt.parallel.traffic import sent_bytes
from glassgpt.training.accelerators import Accelerator

MACHINE = 8  # devices of one machine
INSIDE, BETWEEN = 450e9, 50e9  # bytes a second that a device sends: NVLink 4, and a 400 Gbit/s port to other machines


@dataclass(frozen=True)
class Cluster:
    """``size`` devices of one kind in machines of eight; each sends ``inside`` or ``between`` them so many bytes a
    second. Ranks that share matrices are in one machine, replicas are where there is room."""

    device: Accelerator
    size: int
    parallel: ParallelConfig
    inside: float = INSIDE
    between: float = BETWEEN

    @property
    def links(self) -> dict[str, float]:
        """Bytes a second for what replicas exchange, and for what the ranks of a tensor group do."""
        return {"data": self.inside if self.size <= MACHINE else self.between, "tensor": self.inside}


def scaled(setup: Setup, cluster: Cluster, utilization: float) -> dict[str, Any]:
    """Memory, bytes sent, seconds and tokens a second of a step in which each replica computes ``setup.micro_steps``
    micro-batches of ``setup.batch`` windows.

    Replicas send while they compute, so the longer of both counts; ranks that share matrices wait for each other.
    """
    config, parallel, m = setup.config, cluster.parallel, setup.micro_steps
    n, t = parallel.replicas(cluster.size), parallel.tensor
    tokens = setup.batch * setup.context
    memory = rank_memory(setup, parallel, cluster.size)
    shape = config.model_copy(update={"context_length": setup.context})
    sent = sent_bytes(shape, parallel, cluster.size, setup.batch, m, WIDTH[setup.dtype])
    work = m * tokens * training_flops(config, setup.context, causal=False) / t
    computing = cluster.device.seconds(work, setup.dtype, utilization)
    sending = {kind: count / cluster.links[kind] for kind, count in sent.items()}
    step = max(computing, sending["data"]) + sending["tensor"]
    return {
        "device": cluster.device.name,
        "ranks": cluster.size,
        "layout": str(parallel),
        "links": cluster.links,
        "memory": memory,
        "share": sum(memory.values()) / cluster.device.memory_bytes,
        "sent": sent,
        "tokens_per_step": n * m * tokens,
        "computing_seconds": computing,
        "sending_seconds": sending,
        "step_seconds": step,
        "tokens_per_second": n * m * tokens / step,
        "seconds": setup.tokens * step / (n * m * tokens),
    }


def rank_memory(setup: Setup, parallel: ParallelConfig, size: int) -> dict[str, int]:
    """Bytes a rank holds: its share of the state, weights on loan while they compute, activations and logits.

    Of the 16 d numbers that a block keeps for each token, tensor ranks divide the 12 d inside attention and
    feed-forward, and the logits.
    """
    config, t, tokens = setup.config, parallel.tensor, setup.batch * setup.context
    recipe, width = RECIPES[setup.dtype], WIDTH[setup.dtype]
    is_divided = parallel.is_divided(size)
    a_number = recipe.weights + recipe.gradients + recipe.optimizer
    if is_divided:  # in bfloat16 what is lent replaces the working copy
        a_number = 4 + 4 + recipe.optimizer
    block = sum(block_parameters(config).values())
    shared = 12 * config.num_layers * config.emb_dim * width
    return {
        "state": config.num_parameters * a_number // (size if is_divided else 1),
        "on_loan": 2 * (block // t) * 2 * width if is_divided else 0,
        "activations": tokens * (activation_bytes(config, setup.dtype) - shared + shared // t),
        "logits": tokens * logit_bytes(config) // t,
    }
