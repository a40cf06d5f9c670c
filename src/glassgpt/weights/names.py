"""One table of names: what every tensor of GPT is called elsewhere, and how its layout differs there.

d emb_dim, H heads, D head_dim
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from torch import Tensor

from glassgpt.model.config import ModelConfig


@dataclass(frozen=True)
class Foreign:
    """One of our tensors as another format holds it: under these names, joined and split by these two functions."""

    names: tuple[str, ...]
    join: Callable[[list[Tensor], ModelConfig], Tensor]  # theirs -> ours
    split: Callable[[Tensor, ModelConfig], list[Tensor]]  # ours -> theirs


def _same(*names: str) -> Foreign:
    return Foreign(names, lambda theirs, _: theirs[0], lambda ours, _: [ours])


def _conv1d(name: str) -> Foreign:
    """Conv1D keeps (in, out) where Linear keeps (out, in)."""
    return Foreign((name,), lambda theirs, _: theirs[0].T, lambda ours, _: [ours.T])


def by_part(rows: Tensor, config: ModelConfig) -> Tensor:
    """qkv rows ordered (head, q|k|v, dim), as in our model, reordered (q|k|v, head, dim)."""
    return rows.unflatten(0, (config.num_heads, 3, config.head_dim)).transpose(0, 1).flatten(0, 2)


def by_head(rows: Tensor, config: ModelConfig) -> Tensor:
    """The inverse of ``by_part``."""
    return rows.unflatten(0, (3, config.num_heads, config.head_dim)).transpose(0, 1).flatten(0, 2)


def _qkv(name: str) -> Foreign:
    """One tensor whose rows are ordered (q|k|v, head, dim)."""
    return Foreign(
        (name,), lambda theirs, config: by_head(theirs[0], config), lambda ours, config: [by_part(ours, config)]
    )


# Hugging Face's GPT2LMHeadModel, in OpenAI's names.
HUGGING_FACE: dict[str, Foreign] = {
    "token_embedding.weight": _same("transformer.wte.weight"),
    "position_embedding.weight": _same("transformer.wpe.weight"),
    "blocks.{}.attention_norm.weight": _same("transformer.h.{}.ln_1.weight"),
    "blocks.{}.attention_norm.bias": _same("transformer.h.{}.ln_1.bias"),
    "blocks.{}.attention.qkv.weight": Foreign(
        ("transformer.h.{}.attn.c_attn.weight",),
        lambda theirs, config: by_head(theirs[0].T, config),
        lambda ours, config: [by_part(ours, config).T],
    ),
    "blocks.{}.attention.qkv.bias": _qkv("transformer.h.{}.attn.c_attn.bias"),
    "blocks.{}.attention.out.weight": _conv1d("transformer.h.{}.attn.c_proj.weight"),
    "blocks.{}.attention.out.bias": _same("transformer.h.{}.attn.c_proj.bias"),
    "blocks.{}.mlp_norm.weight": _same("transformer.h.{}.ln_2.weight"),
    "blocks.{}.mlp_norm.bias": _same("transformer.h.{}.ln_2.bias"),
    "blocks.{}.mlp.up.weight": _conv1d("transformer.h.{}.mlp.c_fc.weight"),
    "blocks.{}.mlp.up.bias": _same("transformer.h.{}.mlp.c_fc.bias"),
    "blocks.{}.mlp.down.weight": _conv1d("transformer.h.{}.mlp.c_proj.weight"),
    "blocks.{}.mlp.down.bias": _same("transformer.h.{}.mlp.c_proj.bias"),
    "final_norm.weight": _same("transformer.ln_f.weight"),
    "final_norm.bias": _same("transformer.ln_f.bias"),
    "head.weight": _same("lm_head.weight"),
}


# nanoGPT's GPT and llm.c: Hugging Face's names, every matrix as Linear keeps it.
NANOGPT: dict[str, Foreign] = HUGGING_FACE | {
    "blocks.{}.attention.qkv.weight": _qkv("transformer.h.{}.attn.c_attn.weight"),
    "blocks.{}.attention.out.weight": _same("transformer.h.{}.attn.c_proj.weight"),
    "blocks.{}.mlp.up.weight": _same("transformer.h.{}.mlp.c_fc.weight"),
    "blocks.{}.mlp.down.weight": _same("transformer.h.{}.mlp.c_proj.weight"),
}


def _width1(name: str) -> Foreign:
    """A convolution of width 1 keeps (1, in, out) where Linear keeps (out, in)."""
    return Foreign((name,), lambda theirs, _: theirs[0][0].T, lambda ours, _: [ours.T[None]])


# The variables of OpenAI's TensorFlow checkpoints; the output layer is always tied.
OPENAI: dict[str, Foreign] = {
    "token_embedding.weight": _same("model/wte"),
    "position_embedding.weight": _same("model/wpe"),
    "blocks.{}.attention_norm.weight": _same("model/h{}/ln_1/g"),
    "blocks.{}.attention_norm.bias": _same("model/h{}/ln_1/b"),
    "blocks.{}.attention.qkv.weight": Foreign(
        ("model/h{}/attn/c_attn/w",),
        lambda theirs, config: by_head(theirs[0][0].T, config),
        lambda ours, config: [by_part(ours, config).T[None]],
    ),
    "blocks.{}.attention.qkv.bias": _qkv("model/h{}/attn/c_attn/b"),
    "blocks.{}.attention.out.weight": _width1("model/h{}/attn/c_proj/w"),
    "blocks.{}.attention.out.bias": _same("model/h{}/attn/c_proj/b"),
    "blocks.{}.mlp_norm.weight": _same("model/h{}/ln_2/g"),
    "blocks.{}.mlp_norm.bias": _same("model/h{}/ln_2/b"),
    "blocks.{}.mlp.up.weight": _width1("model/h{}/mlp/c_fc/w"),
    "blocks.{}.mlp.up.bias": _same("model/h{}/mlp/c_fc/b"),
    "blocks.{}.mlp.down.weight": _width1("model/h{}/mlp/c_proj/w"),
    "blocks.{}.mlp.down.bias": _same("model/h{}/mlp/c_proj/b"),
    "final_norm.weight": _same("model/ln_f/g"),
    "final_norm.bias": _same("model/ln_f/b"),
}


def _joined(parts: list[Tensor]) -> Tensor:
    """torch.cat, which for tensors without storage would first import torch._dynamo for seconds."""
    whole = parts[0].new_empty(sum(map(len, parts)), *parts[0].shape[1:])
    for part, rows in zip(parts, whole.split([len(part) for part in parts]), strict=True):
        rows.copy_(part)
    return whole


def _three(part: str) -> Foreign:
    return Foreign(
        tuple(f"trf_blocks.{{}}.att.W_{name}.{part}" for name in ("query", "key", "value")),
        lambda theirs, config: by_head(_joined(theirs), config),
        lambda ours, config: list(by_part(ours, config).chunk(3)),
    )


# The state dict of the book's GPTModel.
BOOK: dict[str, Foreign] = {
    "token_embedding.weight": _same("tok_emb.weight"),
    "position_embedding.weight": _same("pos_emb.weight"),
    "blocks.{}.attention_norm.weight": _same("trf_blocks.{}.norm1.scale"),
    "blocks.{}.attention_norm.bias": _same("trf_blocks.{}.norm1.shift"),
    "blocks.{}.attention.qkv.weight": _three("weight"),
    "blocks.{}.attention.qkv.bias": _three("bias"),
    "blocks.{}.attention.out.weight": _same("trf_blocks.{}.att.out_proj.weight"),
    "blocks.{}.attention.out.bias": _same("trf_blocks.{}.att.out_proj.bias"),
    "blocks.{}.mlp_norm.weight": _same("trf_blocks.{}.norm2.scale"),
    "blocks.{}.mlp_norm.bias": _same("trf_blocks.{}.norm2.shift"),
    "blocks.{}.mlp.up.weight": _same("trf_blocks.{}.ff.layers.0.weight"),
    "blocks.{}.mlp.up.bias": _same("trf_blocks.{}.ff.layers.0.bias"),
    "blocks.{}.mlp.down.weight": _same("trf_blocks.{}.ff.layers.2.weight"),
    "blocks.{}.mlp.down.bias": _same("trf_blocks.{}.ff.layers.2.bias"),
    "final_norm.weight": _same("final_norm.scale"),
    "final_norm.bias": _same("final_norm.shift"),
    "head.weight": _same("out_head.weight"),
}

# The tensors of llama.cpp's architecture "gpt2".
GGUF: dict[str, Foreign] = {
    "token_embedding.weight": _same("token_embd.weight"),
    "position_embedding.weight": _same("position_embd.weight"),
    "blocks.{}.attention_norm.weight": _same("blk.{}.attn_norm.weight"),
    "blocks.{}.attention_norm.bias": _same("blk.{}.attn_norm.bias"),
    "blocks.{}.attention.qkv.weight": _qkv("blk.{}.attn_qkv.weight"),
    "blocks.{}.attention.qkv.bias": _qkv("blk.{}.attn_qkv.bias"),
    "blocks.{}.attention.out.weight": _same("blk.{}.attn_output.weight"),
    "blocks.{}.attention.out.bias": _same("blk.{}.attn_output.bias"),
    "blocks.{}.mlp_norm.weight": _same("blk.{}.ffn_norm.weight"),
    "blocks.{}.mlp_norm.bias": _same("blk.{}.ffn_norm.bias"),
    "blocks.{}.mlp.up.weight": _same("blk.{}.ffn_up.weight"),
    "blocks.{}.mlp.up.bias": _same("blk.{}.ffn_up.bias"),
    "blocks.{}.mlp.down.weight": _same("blk.{}.ffn_down.weight"),
    "blocks.{}.mlp.down.bias": _same("blk.{}.ffn_down.bias"),
    "final_norm.weight": _same("output_norm.weight"),
    "final_norm.bias": _same("output_norm.bias"),
    "head.weight": _same("output.weight"),
}
