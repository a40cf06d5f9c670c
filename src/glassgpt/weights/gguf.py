"""GGUF, the single file llama.cpp reads: the architecture "gpt2", in and out, its numbers plain or in blocks.

Reading trusts ``gguf_header`` only; writing and the arithmetic of blocks are the ``gguf`` package's.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing, contextmanager
from errno import ENOSPC
from math import prod
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from glassgpt.model.config import ModelConfig
from glassgpt.tokenizer.tokenizer import Tokenizer
from glassgpt.tokenizer.vocabulary import ENDOFTEXT, spell
from glassgpt.weights.export_extra import package
from glassgpt.weights.formats import Format
from glassgpt.weights.gguf_header import KINDS, Entry, Kind, read_header
from glassgpt.weights.gguf_keys import QKV_BIAS, config_from, tokenizer_from
from glassgpt.weights.lazy import LazyTensors
from glassgpt.weights.names import GGUF
from glassgpt.weights.opened import Opened
from glassgpt.weights.places import Place, Stored
from glassgpt.weights.translate import read_lazily, with_qkv_bias, without_qkv_bias, write_as, write_lazily
from glassgpt.weights.untrusted import RawFile, tensor_of

# What ``write`` takes -> the kind of number, and what GGUF calls a file of mostly that kind.
DTYPES = {
    "float32": ("F32", "ALL_F32"), "float16": ("F16", "MOSTLY_F16"), "bfloat16": ("BF16", "MOSTLY_BF16"),
    "q8_0": ("Q8_0", "MOSTLY_Q8_0"), "q5_0": ("Q5_0", "MOSTLY_Q5_0"), "q4_0": ("Q4_0", "MOSTLY_Q4_0"),
}  # fmt: skip
NORMAL, CONTROL = 1, 3  # types of tokens

_PLAIN = {"F32": "float32", "F16": "float16", "BF16": "bfloat16"}
_KINDS = {kind.name: kind for kind in KINDS.values()}


def read(path: Path) -> Opened:
    """The model in a GGUF file; numbers in blocks become float32.

    Raises:
        ValueError: the file is damaged, of another architecture, or stored in a way this reader does not know.
        ImportError: a tensor in blocks is asked for, and the ``gguf`` package is not installed.
    """
    header, file, notes = read_header(path), RawFile(path), []
    config, entries = config_from(path, header), dict(header.tensors)
    if config.tied_head and entries.pop("output.weight", None):
        notes.append("output.weight repeats token_embd.weight: the output layer is tied")
    places = {
        name: Place(entry.offset, entry.shape, _PLAIN.get(entry.kind.name, "float32"))
        for name, entry in entries.items()
    }
    theirs = LazyTensors.at(Stored(places, lambda name: _load(file, entries[name])))
    ours = read_lazily(GGUF, theirs, config.model_copy(update={"qkv_bias": True}))
    ours = without_qkv_bias(ours, config)
    names = zip(ours, write_as(GGUF, ours.blank, config), strict=True)
    kinds = {our_name: entries[their_name].kind.name for our_name, their_name in names}
    facts = {"dtypes": kinds, "notes": notes, "name": header.keys.get("general.name")}
    return Opened("gguf", config, ours, tokenizer_from(header), facts)


def write(opened: Opened, path: Path, dtype: str | None) -> None:
    """A GGUF file that llama.cpp runs, written tensor by tensor.

    Norms, biases and positions stay float32; a file of five or four bits keeps eight in the output layer. A tensor
    whose rows cannot be cut into blocks becomes float16. Rows of the vocabulary beyond the tokenizer's are cut.

    Raises:
        ValueError: the model came without a tokenizer.
        ImportError: the ``gguf`` package is not installed.
    """
    gguf = package("gguf")
    if (tokenizer := opened.tokenizer) is None:
        raise ValueError("a GGUF file holds a tokenizer, this model came without one: name it (--tokenizer gpt2)")
    opened = opened.with_tokenizer(tokenizer)
    config, (kind, file_type) = opened.config, DTYPES[dtype or "float32"]
    theirs = write_lazily(GGUF, with_qkv_bias(opened.tensors, config), config)
    kinds = {name: _kind(name, tensor, kind, config) for name, tensor in theirs.blank.items()}
    with closing(gguf.GGUFWriter(path, "gpt2")) as writer:
        _add_config(writer, config, path.stem)
        writer.add_file_type(gguf.LlamaFileType[file_type])
        writer.add_quantization_version(gguf.GGML_QUANT_VERSION)
        _add_tokenizer(writer, tokenizer)
        for name, tensor in theirs.blank.items():
            stored = gguf.GGMLQuantizationType[kinds[name].name]
            size = tensor.numel() // kinds[name].elements * kinds[name].bytes
            writer.add_tensor_info(name, tensor.shape, torch.float32, size, stored)
        writer.write_header_to_file()
        writer.write_kv_data_to_file()
        writer.write_ti_data_to_file()
        for name, tensor in theirs.items():
            with _told_why():
                writer.write_tensor_data(_store(tensor, kinds[name]))


@contextmanager
def _told_why() -> Iterator[None]:
    """NumPy writes what fits on the disk, and then says how much that was, not why."""
    try:
        yield
    except OSError as error:
        raise OSError(error.errno or ENOSPC, error.strerror or str(error)) from error


def _kind(name: str, tensor: Tensor, wanted: str, config: ModelConfig) -> Kind:
    """How a tensor is stored where the file is mostly of the wanted kind; llama.cpp's own tools choose alike."""
    output_layer = "token_embd.weight" if config.tied_head else "output.weight"
    if tensor.dim() < 2 or name == "position_embd.weight":
        return _KINDS["F32"]
    if wanted in ("Q5_0", "Q4_0") and name == output_layer:
        wanted = "Q8_0"
    return _KINDS["F16" if tensor.shape[-1] % _KINDS[wanted].elements else wanted]


def _store(tensor: Tensor, kind: Kind) -> Any:
    """The tensor's numbers as a NumPy array of the kind's bytes."""
    if kind.name in _PLAIN:
        plain = tensor.to(getattr(torch, _PLAIN[kind.name])).contiguous()
        return plain.view(torch.uint8).numpy() if plain.dtype == torch.bfloat16 else plain.numpy()
    gguf = package("gguf")
    return gguf.quants.quantize(tensor.float().contiguous().numpy(), gguf.GGMLQuantizationType[kind.name])


def _load(file: RawFile, entry: Entry) -> Tensor:
    """The inverse of ``_store``."""
    if dtype := _PLAIN.get(entry.kind.name):
        return file.tensor(Place(entry.offset, entry.shape, dtype))
    gguf = package("gguf")
    blocks = tensor_of(file.read(entry.offset, entry.bytes), (prod(entry.shape[:-1]), -1), "uint8").numpy()
    numbers = gguf.quants.dequantize(blocks, gguf.GGMLQuantizationType[entry.kind.name])
    return torch.from_numpy(numbers).reshape(entry.shape)


def _add_config(writer: Any, config: ModelConfig, name: str) -> None:
    writer.add_name(name)
    writer.add_context_length(config.context_length)
    writer.add_embedding_length(config.emb_dim)
    writer.add_block_count(config.num_layers)
    writer.add_feed_forward_length(4 * config.emb_dim)
    writer.add_head_count(config.num_heads)
    writer.add_layer_norm_eps(config.norm_eps)
    if not config.qkv_bias:
        writer.add_bool(QKV_BIAS, False)


def _add_tokenizer(writer: Any, tokenizer: Tokenizer) -> None:
    from glassgpt.tokenizer.files import spelled_merges

    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre("gpt-2")
    writer.add_token_list([*map(spell, tokenizer.tokens), ENDOFTEXT])
    writer.add_token_types([NORMAL] * tokenizer.eot + [CONTROL])
    writer.add_token_merges([f"{left} {right}" for left, right in spelled_merges(tokenizer.tokens)])
    writer.add_bos_token_id(tokenizer.eot)
    writer.add_eos_token_id(tokenizer.eot)
    writer.add_add_bos_token(False)


FORMAT = Format("gguf", "llama.cpp's single file", read, write, tuple(DTYPES))
