"""The shape of one model of the family, and the shapes that were published. Knows nothing of training or files."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel, ConfigDict, Field, model_validator


class ModelConfig(BaseModel):
    """Everything that decides which parameters a GPT has.

    The defaults are GPT-2 small as OpenAI published it: query/key/value bias, output layer tied to the token
    embedding. The feed-forward width is always four times ``emb_dim``.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    vocab_size: int = Field(default=50257, ge=1, le=2**20)
    context_length: int = Field(default=1024, ge=1, le=2**20)
    emb_dim: int = Field(default=768, ge=1, le=65536)
    num_heads: int = Field(default=12, ge=1, le=1024)
    num_layers: int = Field(default=12, ge=1, le=512)
    dropout: float = Field(default=0.0, ge=0.0, lt=1.0)
    qkv_bias: bool = True
    tied_head: bool = True
    norm_eps: float = Field(default=1e-5, gt=0.0)

    @model_validator(mode="after")
    def _heads_divide_width(self) -> ModelConfig:
        if self.emb_dim % self.num_heads:
            raise ValueError(
                f"emb_dim {self.emb_dim} is not divisible by num_heads {self.num_heads}: "
                "choose a width that is a multiple of the number of heads"
            )
        return self

    @property
    def head_dim(self) -> int:
        return self.emb_dim // self.num_heads

    @property
    def num_parameters(self) -> int:
        """The exact parameter count, ``V*d + T*d + L*(12*d*d + 10*d + b) + 2*d + o``; a tied head counts once."""
        V, T, d, L = self.vocab_size, self.context_length, self.emb_dim, self.num_layers
        block = 12 * d * d + 10 * d + (3 * d if self.qkv_bias else 0)
        return V * d + T * d + L * block + 2 * d + (0 if self.tied_head else V * d)

    @classmethod
    def named(cls, name: str, **changes: Any) -> ModelConfig:
        """The configuration of a published size, such as ``gpt2``, ``355M``, ``1542M`` (the report's old name) or
        ``gpt3-13b``; ``changes`` replace single fields.

        Raises:
            ValueError: no published size has this name.
        """
        key = name.lower()
        if (size := ALIASES.get(key, key)) not in SIZES:
            raise ValueError(f"no published size is called {name!r}: choose one of {', '.join(SIZES)}")
        return cls(**{**SIZES[size], **changes})

    @classmethod
    def from_book(cls, config: dict[str, Any]) -> ModelConfig:
        """The book's dictionary (``GPT_CONFIG_124M``) as a ModelConfig: untied head, dropout ``drop_rate``.

        Raises:
            ValueError: a key is missing or unknown, or a value cannot be.
        """
        if missing := [key for key in BOOK_KEYS if key not in config]:
            raise ValueError(f"the book's configuration needs {', '.join(BOOK_KEYS)}; missing: {', '.join(missing)}")
        if unknown := [key for key in config if key not in BOOK_KEYS]:
            raise ValueError(f"the book's configuration has {', '.join(BOOK_KEYS)}; unknown: {', '.join(unknown)}")
        return cls(**{BOOK_KEYS[key]: value for key, value in config.items()}, tied_head=False)


BOOK_KEYS = {
    "vocab_size": "vocab_size",
    "context_length": "context_length",
    "emb_dim": "emb_dim",
    "n_heads": "num_heads",
    "n_layers": "num_layers",
    "drop_rate": "dropout",
    "qkv_bias": "qkv_bias",
}

# GPT-2: the released checkpoints. GPT-3: table 2.1 of Brown et al. 2020, https://arxiv.org/abs/2005.14165. Two of its
# rows cannot be built as printed: XL's 24 heads of 128 are not 2,048 wide (16 are), 13B's width 5,140 is not 40 heads
# of 128 (5,120 is).
SIZES: dict[str, dict[str, int]] = {
    "gpt2": {"emb_dim": 768, "num_layers": 12, "num_heads": 12},
    "gpt2-medium": {"emb_dim": 1024, "num_layers": 24, "num_heads": 16},
    "gpt2-large": {"emb_dim": 1280, "num_layers": 36, "num_heads": 20},
    "gpt2-xl": {"emb_dim": 1600, "num_layers": 48, "num_heads": 25},
    "gpt3-small": {"emb_dim": 768, "num_layers": 12, "num_heads": 12, "context_length": 2048},
    "gpt3-medium": {"emb_dim": 1024, "num_layers": 24, "num_heads": 16, "context_length": 2048},
    "gpt3-large": {"emb_dim": 1536, "num_layers": 24, "num_heads": 16, "context_length": 2048},
    "gpt3-xl": {"emb_dim": 2048, "num_layers": 24, "num_heads": 16, "context_length": 2048},
    "gpt3-2.7b": {"emb_dim": 2560, "num_layers": 32, "num_heads": 32, "context_length": 2048},
    "gpt3-6.7b": {"emb_dim": 4096, "num_layers": 32, "num_heads": 32, "context_length": 2048},
    "gpt3-13b": {"emb_dim": 5120, "num_layers": 40, "num_heads": 40, "context_length": 2048},
    "gpt3-175b": {"emb_dim": 12288, "num_layers": 96, "num_heads": 96, "context_length": 2048},
}

# Other names in use; the second group is the first report's, whose counts were wrong.
ALIASES = {
    "124m": "gpt2", "355m": "gpt2-medium", "774m": "gpt2-large", "1558m": "gpt2-xl", "1.5b": "gpt2-xl",
    "117m": "gpt2", "345m": "gpt2-medium", "762m": "gpt2-large", "1542m": "gpt2-xl",
    "gpt2-small": "gpt2", "gpt3": "gpt3-175b", "175b": "gpt3-175b", "13b": "gpt3-13b", "6.7b": "gpt3-6.7b",
    "2.7b": "gpt3-2.7b", "1.3b": "gpt3-xl", "gpt3-1.3b": "gpt3-xl", "760m": "gpt3-large", "350m": "gpt3-medium",
    "125m": "gpt3-small",
}  # fmt: skip
