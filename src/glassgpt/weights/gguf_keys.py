"""What the keys of a GGUF file of llama.cpp's architecture "gpt2" mean: the configuration and the tokenizer.

Imports no torch, so that a file can be described at once. Keys: https://github.com/ggml-org/ggml/blob/master/docs/gguf.md
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from glassgpt.model.config import ModelConfig
from glassgpt.tokenizer.tokenizer import Tokenizer
from glassgpt.weights.gguf_header import Header
from glassgpt.weights.untrusted import RawFile

QKV_BIAS = (
    "glassgpt.qkv_bias"  # llama.cpp wants that bias always: where a model has none it is zero, and this key false
)
CUTS = ("gpt-2", "default")  # how text is cut into words; files of before April 2024 do not say it
UNUSED = 5  # the type of a token that only fills the vocabulary up


def config_from(path: Path, header: Header) -> ModelConfig:
    """The configuration of the model in the file at ``path``; an output layer that repeats the token embedding is tied.

    Raises:
        ValueError: the architecture is another, or a key is missing, of another type or out of range.
    """
    keys, tensors = header.keys, header.tensors
    if (architecture := keys.get("general.architecture")) != "gpt2":
        raise ValueError(f"its architecture is {architecture!r:.100}, this package reads 'gpt2'")
    if "token_embd.weight" not in tensors:
        raise ValueError("it has no token_embd.weight: it holds no model (a vocabulary or an adapter?)")
    wanted = ["context_length", "embedding_length", "block_count", "attention.head_count"]
    if missing := [f"gpt2.{key}" for key in wanted if f"gpt2.{key}" not in keys]:
        raise ValueError(f"it lacks the keys {', '.join(missing)}")
    context_length, emb_dim, num_layers, num_heads = (keys[f"gpt2.{key}"] for key in wanted)
    if (width := keys.get("gpt2.feed_forward_length", 4 * emb_dim)) != 4 * emb_dim:
        raise ValueError(f"its feed-forward width is {width}, this model computes 4 * {emb_dim}")
    return ModelConfig.model_validate(
        {
            "vocab_size": tensors["token_embd.weight"].shape[0],
            "context_length": context_length,
            "emb_dim": emb_dim,
            "num_heads": num_heads,
            "num_layers": num_layers,
            "norm_eps": _decimal(keys.get("gpt2.attention.layer_norm_epsilon", 1e-5)),
            "qkv_bias": keys.get(QKV_BIAS, True),
            "tied_head": "output.weight" not in tensors or _repeats(path, header, "output.weight", "token_embd.weight"),
        },
        strict=True,
    )


def tokenizer_from(header: Header) -> Tokenizer | None:
    """The tokenizer in the file; None where the file has none.

    Raises:
        ValueError: it is not a byte-level BPE as GPT-2 has it.
    """
    from glassgpt.tokenizer.files import tokens_of

    keys = header.keys
    if (kind := keys.get("tokenizer.ggml.model")) in (None, "no_vocab", "none"):
        return None
    if kind != "gpt2":
        raise ValueError(f"its tokenizer is {kind!r:.100}, this package knows 'gpt2'")
    if (cut := keys.get("tokenizer.ggml.pre", "default")) not in CUTS:
        raise ValueError(f"its tokenizer cuts text into words as {cut!r:.100}, this package only as {CUTS[0]!r}")
    tokens, merges = (keys.get(f"tokenizer.ggml.{key}", []) for key in ("tokens", "merges"))
    types = keys.get("tokenizer.ggml.token_type", ())
    if not isinstance(tokens, list) or not isinstance(merges, list) or not isinstance(types, tuple):
        raise ValueError("its tokens and merges are no lists of texts, or the types of tokens no list of numbers")
    padding = 0
    while padding < min(len(tokens), len(types)) and types[-1 - padding] == UNUSED:
        padding += 1
    tokens = tokens[: len(tokens) - padding]
    ids = {token: id for id, token in enumerate(tokens)}
    try:
        return Tokenizer(tokens_of(ids, [(left, right) for left, right in (merge.split(" ") for merge in merges)]))
    except ValueError as error:
        raise ValueError(f"its tokenizer is no byte-level BPE as GPT-2 has it: {error}") from None


def _decimal(number: Any) -> Any:
    """The shortest decimal of a float32: 1e-05 where the file says 9.999999747378752e-06."""
    return float(f"{number:.7g}") if isinstance(number, float) else number


def _repeats(path: Path, header: Header, first: str, second: str) -> bool:
    """Whether two tensors are the same bytes of the same kind."""
    a, b = header.tensors[first], header.tensors[second]
    return (a.kind, a.shape) == (b.kind, b.shape) and RawFile(path).repeats(a.offset, b.offset, a.bytes)
