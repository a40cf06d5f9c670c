"""nanoGPT's ``ckpt.pt``, read without pickle and written so that its ``sample.py`` resumes from it.

nanoGPT computes the exact GELU, this model (as GPT-2 does) its tanh approximation, so the logits of the same weights
agree to about three digits. Source: https://github.com/karpathy/nanoGPT, model.py and train.py
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import torch

from glassgpt.model.config import ModelConfig
from glassgpt.weights.book import require_tied
from glassgpt.weights.formats import Format
from glassgpt.weights.lazy import LazyTensors
from glassgpt.weights.names import NANOGPT
from glassgpt.weights.nanogpt_keys import NANOGPT_ARGUMENTS, nanogpt_config, nanogpt_part
from glassgpt.weights.opened import Opened, as_gpt2, dtype_named, dtypes
from glassgpt.weights.torch_files import TorchFile
from glassgpt.weights.torch_writer import write_torch
from glassgpt.weights.translate import blank, read_lazily, write_as, write_lazily

GELU = "nanoGPT computes the exact GELU, this model its tanh approximation: logits agree to about three digits"

_COMPILED = "_orig_mod."  # what torch.compile puts before every name
_MASK = re.compile(r"transformer\.h\.\d+\.attn\.bias")


def read(path: Path) -> Opened:
    """The model in a checkpoint of nanoGPT.

    Raises:
        ValueError: the file is none, breaks a rule, or its tensors do not belong to its ``model_args``.
    """
    file = TorchFile(path)
    arguments, state = nanogpt_part(file.content, "model_args"), nanogpt_part(file.content, "model")
    config = nanogpt_config(arguments)
    named = {name.removeprefix(_COMPILED): name for name in state if isinstance(name, str)}
    masks = [name for name in named if _MASK.fullmatch(name)]
    theirs = LazyTensors.at(file.stored({name: state[old] for name, old in named.items() if name not in masks}))
    notes = [GELU]
    if any(name.startswith(_COMPILED) for name in named.values()):
        notes.append(f"the prefix {_COMPILED} was taken off every name")
    if masks:
        notes.append("attention masks dropped")
    if "lm_head.weight" in theirs:
        remedy = "nanoGPT ties them, so the file is damaged or another program's"
        require_tied(theirs["lm_head.weight"], theirs.get("transformer.wte.weight"), "lm_head.weight", remedy)
        theirs = theirs.without("lm_head.weight")
    if not config.qkv_bias:
        theirs = _with_biases(theirs, config)
        notes.append("it has no biases: zeros stand for them, training on would learn them")
    if config.vocab_size == 50304:
        notes.append("a vocabulary of 50304 may be GPT-2's 50257 padded: name the tokenizer, then it is cut")
    tensors = read_lazily(NANOGPT, theirs, config)
    facts = {"dtypes": dtypes(tensors), "notes": notes, "model_args": dict(arguments)}
    return Opened("nanogpt", config, tensors, None, facts | _progress(file.content))


def write(opened: Opened, path: Path, dtype: str | None) -> None:
    """A checkpoint with ``model`` and ``model_args``, without the state of an optimizer.

    Raises:
        ValueError: the output layer is not tied, or the normalisation has another epsilon.
    """
    biased = opened.config.model_copy(update={"qkv_bias": True})
    ours = as_gpt2(opened, "nanoGPT", dtype_named(dtype))
    theirs = write_lazily(NANOGPT, ours, biased)
    names = {name: name for name in theirs}
    arguments = {name: getattr(biased, field) for name, field in NANOGPT_ARGUMENTS.items()}
    tied = {"lm_head.weight": "transformer.wte.weight"}
    write_torch(path, {"model": theirs.renamed(names | tied), "model_args": arguments}, tied)


def _with_biases(theirs: LazyTensors, config: ModelConfig) -> LazyTensors:
    """The tensors and a zero for each bias that this model has and a nanoGPT without biases has not."""
    wanted = write_as(NANOGPT, blank(config), config)
    zeros = {name: torch.zeros(tensor.shape) for name, tensor in wanted.items() if name.endswith(".bias")}
    return theirs.joined({name: zero for name, zero in zeros.items() if name not in theirs})


def _progress(content: dict[str, Any]) -> dict[str, Any]:
    """How far the training had come, where the checkpoint says so."""
    return {"iter_num": count} if type(count := content.get("iter_num")) is int else {}


FORMAT = Format("nanogpt", "nanoGPT's ckpt.pt", read, write, ("float32", "float16", "bfloat16"))
