"""A model of shapes only, for weights that are about to come from a file."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch.overrides import TorchFunctionMode

from glassgpt.model.config import ModelConfig
from glassgpt.model.gpt import GPT


def skeleton(config: ModelConfig) -> GPT:
    """``GPT(config)`` on the meta device: no storage, and nothing drawn to fill it.

    To initialise on that device, PyTorch would import its compiler, which takes longer than reading a small model.
    """
    with torch.device("meta"), _Unfilled():
        return GPT(config)


class _Unfilled(TorchFunctionMode):
    """Leaves every tensor as it is that a module hands to ``torch.nn.init``."""

    def __torch_function__(
        self, func: Callable[..., Any], types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        kwargs = kwargs or {}
        if getattr(func, "__module__", None) == "torch.nn.init":
            return kwargs.get("tensor", args[0] if args else None)
        return func(*args, **kwargs)
