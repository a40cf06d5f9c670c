"""A stored model, open: its shape and its tensors under our names, whatever the format. Knows no format."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any

import torch

from glassgpt.model.config import ModelConfig
from glassgpt.model.gpt import GPT
from glassgpt.model.skeleton import skeleton
from glassgpt.tokenizer.tokenizer import Tokenizer
from glassgpt.weights.lazy import LazyTensors, dtype_name
from glassgpt.weights.translate import with_qkv_bias


@dataclass(frozen=True)
class Opened:
    """A stored model: its shape, its tensors under our names (read when asked for), what else is known of it.

    ``facts`` has ``dtypes`` (how each tensor is stored), ``notes`` (sentences: what was dropped, cut or assumed) and
    whatever the file says about itself, as plain data.
    """

    format: str
    config: ModelConfig
    tensors: LazyTensors
    tokenizer: Tokenizer | None = None
    facts: dict[str, Any] = field(default_factory=dict)

    @classmethod
    def of(cls, model: GPT, tokenizer: Tokenizer | None = None) -> Opened:
        """A model in memory, ready to be written."""
        tensors = LazyTensors.of(model.state_dict())
        return cls("memory", model.config, tensors, tokenizer, {"dtypes": dtypes(tensors), "notes": []})

    def build(self, dtype: torch.dtype | None = torch.float32) -> GPT:
        """The model itself, in evaluation mode, its weights as ``dtype`` (None: as stored)."""
        model = skeleton(self.config)
        state = {name: tensor.contiguous() for name, tensor in self.tensors.to(dtype).items()}
        model.load_state_dict(state, assign=True)
        return model.eval()

    def with_tokenizer(self, tokenizer: Tokenizer) -> Opened:
        """The model with this tokenizer; rows of a vocabulary padded beyond it are cut off.

        Raises:
            ValueError: the tokenizer has more tokens than the model.
        """
        if tokenizer.vocab_size > self.config.vocab_size:
            raise ValueError(
                f"the tokenizer has {tokenizer.vocab_size} tokens, the model only {self.config.vocab_size}: "
                "give the tokenizer it was trained with"
            )
        return replace(self.cut(tokenizer.vocab_size), tokenizer=tokenizer)

    def cut(self, vocab_size: int) -> Opened:
        """The model with the first ``vocab_size`` rows of its vocabulary."""
        if vocab_size == self.config.vocab_size:
            return self
        rows = ("token_embedding.weight", "head.weight")
        note = f"padded vocabulary {self.config.vocab_size} cut to {vocab_size}"
        return replace(
            self,
            config=self.config.model_copy(update={"vocab_size": vocab_size}),
            tensors=self.tensors.changed(lambda name, tensor: tensor[:vocab_size] if name in rows else tensor),
            facts={**self.facts, "notes": [*self.facts.get("notes", []), note]},
        )


def as_gpt2(opened: Opened, who: str, dtype: torch.dtype | None) -> LazyTensors:
    """The tensors for a format that knows GPT-2 alone; a missing query/key/value bias becomes zeros.

    Raises:
        ValueError: the output layer is not tied, or the normalisation has another epsilon than 1e-5.
    """
    config = opened.config
    if not config.tied_head:
        raise ValueError(f"{who} always ties the output layer to the token embedding, this model has its own")
    if config.norm_eps != 1e-5:
        raise ValueError(f"{who} normalises with epsilon 1e-5, this model with {config.norm_eps}")
    return with_qkv_bias(opened.tensors, config).to(dtype)


def dtype_named(name: str | None) -> torch.dtype | None:
    """torch's dtype of this name; None stays None."""
    return None if name is None else getattr(torch, name)


def dtypes(tensors: LazyTensors) -> dict[str, str]:
    """The dtype of each tensor by name."""
    return {name: dtype_name(tensor) for name, tensor in tensors.blank.items()}
