"""AdamW for every parameter, or Muon for the matrices inside the blocks and AdamW for the rest; chosen by name.

Its state leaves and enters as plain tensors under the model's parameter names, so it is saved without pickle and
restored bit for bit. The learning rate is handed in with every step.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import torch
from torch import Tensor

from glassgpt.model.gpt import GPT
from glassgpt.training.config import OptimizerConfig
from glassgpt.training.muon import Muon


class Optimizer:
    """The optimizer of one model, driven by ``step(learning_rate)`` once the gradients are there.

    Matrices decay, biases and norms do not. Source: Loshchilov & Hutter 2019, https://arxiv.org/abs/1711.05101.
    """

    def __init__(self, model: GPT, config: OptimizerConfig):
        named: dict[str, Tensor] = dict(model.named_parameters())
        by_muon = {n: p for n, p in named.items() if config.name == "muon" and n.startswith("blocks.") and p.ndim == 2}
        rest = {n: p for n, p in named.items() if n not in by_muon}
        decayed = {"params": [p for p in rest.values() if p.ndim == 2], "weight_decay": config.weight_decay}
        others = {"params": [p for p in rest.values() if p.ndim != 2], "weight_decay": 0.0}
        adamw = torch.optim.AdamW([decayed, others], betas=(config.beta1, config.beta2), fused=True)
        self.shares = [Share(adamw, rest, ("exp_avg", "exp_avg_sq"))]
        if by_muon:
            groups = muon_groups(by_muon, model.config.head_dim)
            self.shares.append(Share(Muon(groups, config.weight_decay, config.momentum), by_muon, ("momentum_buffer",)))
        for share in self.shares:
            for group in share.optimizer.param_groups:
                group["full_decay"] = group["weight_decay"]
        self.updates = 0

    def step(self, learning_rate: float, decay_share: float = 1.0) -> None:
        """Applies the gradients to the weights, with a share of the configured weight decay."""
        for share in self.shares:
            for group in share.optimizer.param_groups:
                group["lr"] = learning_rate
                group["weight_decay"] = group["full_decay"] * decay_share
            share.optimizer.step()
        self.updates += 1

    @property
    def num_bytes(self) -> int:
        """The size of all moments."""
        return sum(p.nbytes * len(share.moments) for share in self.shares for p in share.parameters.values())

    def tensors(self) -> dict[str, Tensor]:
        """The moments as ``<parameter>.<moment>``: with the number of updates, the whole state."""
        return {
            f"{name}.{moment}": share.optimizer.state[parameter][moment]
            for share in self.shares
            for name, parameter in share.parameters.items()
            for moment in share.moments
        }

    def blank(self) -> dict[str, Tensor]:
        """Memory for what ``tensors`` returns after the first step."""
        return {
            f"{name}.{moment}": torch.empty_like(parameter, requires_grad=False)
            for share in self.shares
            for name, parameter in share.parameters.items()
            for moment in share.moments
        }

    def check(self, tensors: Mapping[str, Tensor]) -> None:
        """Raises ValueError if a moment is missing or has another shape than its parameter."""
        shapes = {
            f"{name}.{moment}": parameter.shape
            for share in self.shares
            for name, parameter in share.parameters.items()
            for moment in share.moments
        }
        for name, shape in shapes.items():
            if name not in tensors or tensors[name].shape != shape:
                raise ValueError(
                    f"the optimizer state has no {name} of shape {tuple(shape)}: "
                    "resume with the model and the optimizer.name that the run began with"
                )

    def restore(self, tensors: Mapping[str, Tensor], updates: int) -> None:
        """Takes over, as its own, the state another optimizer of the same kind had after ``updates`` steps.

        Raises:
            ValueError: a moment is missing or has another shape than its parameter.
        """
        self.check(tensors)
        for share in self.shares:
            for name, parameter in share.parameters.items():
                step = torch.tensor(float(updates), device=parameter.device)
                moments = {moment: tensors[f"{name}.{moment}"] for moment in share.moments}
                share.optimizer.state[parameter] = {"step": step, **moments}
        self.updates = updates


class Share(NamedTuple):
    """The parameters one torch optimizer is responsible for, and what it remembers of each."""

    optimizer: torch.optim.Optimizer
    parameters: dict[str, Tensor]
    moments: tuple[str, ...]


def muon_groups(matrices: Mapping[str, Tensor], head_dim: int) -> list[dict[str, Any]]:
    """One group for each kind of matrix in a block, such as ``mlp.up.weight``, over all blocks."""
    kinds: dict[str, list[Tensor]] = {}
    for name, parameter in matrices.items():
        kinds.setdefault(name.split(".", 2)[2], []).append(parameter)
    return [
        {"params": parameters, "head_dim": head_dim if kind == "attention.qkv.weight" else None}
        for kind, parameters in kinds.items()
    ]
