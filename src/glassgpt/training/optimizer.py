"""AdamW for every parameter, or Muon for the hidden matrices and AdamW for the rest; chosen by name.

Its state leaves and enters as plain tensors under the model's parameter names, so it is saved without pickle and
restored bit for bit. The learning rate is handed in with every step.

H heads, D head_dim, C emb_dim
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

import torch
from torch import Tensor

from glassgpt.model.gpt import GPT
from glassgpt.training.config import OptimizerConfig


class Optimizer:
    """The optimizer of one model, driven by ``step(learning_rate)`` once the gradients are there.

    Matrices decay, biases and norms do not. Muon orthogonalises queries, keys and values each for themselves although
    the model keeps them in one matrix, and its update is scaled so that one learning rate suits both. Sources:
    Loshchilov & Hutter 2019, https://arxiv.org/abs/1711.05101; Jordan 2024, https://kellerjordan.github.io/posts/muon;
    Liu et al. 2025, https://arxiv.org/abs/2502.16982.
    """

    def __init__(self, model: GPT, config: OptimizerConfig):
        named: dict[str, Tensor] = dict(model.named_parameters())
        hidden = {n: p for n, p in named.items() if config.name == "muon" and n.startswith("blocks.") and p.ndim == 2}
        rest = {n: p for n, p in named.items() if n not in hidden}
        self.splits = {n: QKVSplit(p, model.config.head_dim) for n, p in hidden.items() if n.endswith("qkv.weight")}
        matrices = {n: p for n, p in hidden.items() if n not in self.splits}
        for name, split in self.splits.items():
            matrices |= {f"{name}.{part}": matrix for part, matrix in zip("qkv", split.matrices, strict=True)}

        decayed = {"params": [p for p in rest.values() if p.ndim == 2], "weight_decay": config.weight_decay}
        others = {"params": [p for p in rest.values() if p.ndim != 2], "weight_decay": 0.0}
        adamw = torch.optim.AdamW([decayed, others], betas=(config.beta1, config.beta2), fused=True)
        self.shares = [Share(adamw, rest, ("exp_avg", "exp_avg_sq"))]
        if matrices:
            muon = torch.optim.Muon(
                matrices.values(),
                weight_decay=config.weight_decay,
                momentum=config.momentum,
                adjust_lr_fn="match_rms_adamw",
            )
            self.shares.append(Share(muon, matrices, ("momentum_buffer",)))
        self.updates = 0

    def step(self, learning_rate: float) -> None:
        """Applies the gradients to the weights."""
        for split in self.splits.values():
            split.gather()
        for share in self.shares:
            for group in share.optimizer.param_groups:
                group["lr"] = learning_rate
            share.optimizer.step()
        for split in self.splits.values():
            split.scatter()
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

    def restore(self, tensors: Mapping[str, Tensor], updates: int) -> None:
        """Takes over the state another optimizer of the same kind had after ``updates`` steps.

        Raises:
            ValueError: a moment is missing or has another shape than its parameter.
        """
        for share in self.shares:
            for name, parameter in share.parameters.items():
                state = {"step": torch.tensor(float(updates), device=parameter.device)}
                for moment in share.moments:
                    value = tensors.get(f"{name}.{moment}")
                    if value is None or value.shape != parameter.shape:
                        raise ValueError(
                            f"the optimizer state has no {name}.{moment} of shape {tuple(parameter.shape)}: "
                            "resume with the model and the optimizer.name that the run began with"
                        )
                    state[moment] = value.to(parameter.device, copy=True)
                share.optimizer.state[parameter] = state
        self.updates = updates


class Share(NamedTuple):
    """The parameters one torch optimizer is responsible for, and what it remembers of each."""

    optimizer: torch.optim.Optimizer
    parameters: dict[str, Tensor]
    moments: tuple[str, ...]


class QKVSplit:
    """The query, key and value matrices, each (C, C), of a qkv weight whose rows are ordered (head, q|k|v, dim)."""

    def __init__(self, weight: Tensor, head_dim: int):
        self.weight = weight
        self.head_dim = head_dim
        self.matrices = [torch.empty_like(part) for part in self.parts(weight.detach())]

    def parts(self, tensor: Tensor) -> list[Tensor]:
        by_head = tensor.unflatten(0, (-1, 3, self.head_dim))  # (H, 3, D, C)
        return [part.flatten(0, 1) for part in by_head.unbind(1)]

    def gather(self) -> None:
        """Copies weight and gradient into the matrices."""
        assert self.weight.grad is not None
        both = zip(self.matrices, self.parts(self.weight.detach()), self.parts(self.weight.grad), strict=True)
        for matrix, weight, gradient in both:
            matrix.copy_(weight)
            matrix.grad = gradient

    @torch.no_grad()
    def scatter(self) -> None:
        """Copies the matrices back into the weight."""
        by_head = [matrix.unflatten(0, (-1, self.head_dim)) for matrix in self.matrices]  # each (H, D, C)
        self.weight.copy_(torch.stack(by_head, dim=1).flatten(0, 2))
