"""ONNX with a cache: a directory that onnxruntime runs anywhere, and its weights back.

``model.onnx`` takes ``input_ids`` (B, T) and the cache as two tensors ``past_k`` and ``past_v`` (L, B, H, P, D); it
returns ``logits`` (B, T, V) and the grown cache ``k`` and ``v`` (L, B, H, P + T, D). P may be 0. The weights lie beside
it under our names, configuration and tokenizer as in Hugging Face's directories.

B batch, T new tokens, P past tokens, L layers, H heads, D head_dim, V vocabulary
"""

from __future__ import annotations

import json
from math import prod
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from glassgpt.tokenizer.tokenizer import Tokenizer
from glassgpt.weights.directory import load_config
from glassgpt.weights.export_extra import package
from glassgpt.weights.formats import Format, Opened, dtypes
from glassgpt.weights.hugging_face_config import config_to_json
from glassgpt.weights.lazy import LazyTensors
from glassgpt.weights.onnx_graph import INPUTS, OUTPUTS, exported
from glassgpt.weights.translate import blank, check
from glassgpt.weights.untrusted import RawFile, check_disjoint, tensor_of

MODEL, WEIGHTS = "model.onnx", "model.onnx.data"
MAX_GRAPH_BYTES = 64 * 2**20  # without weights; GPT-2 XL's has 6 MB
FLOAT = 1  # TensorProto.FLOAT


def recognizes(path: Path) -> bool:
    return (path / MODEL).is_file()


def write(opened: Opened, path: Path, dtype: str | None) -> None:
    """A directory with the model as an ONNX graph. The model itself is not changed: its cache is another one.

    Raises:
        ImportError: a package of the export extra is not installed.
    """
    package("onnxscript")
    config, tokenizer = opened.config, opened.tokenizer
    graph = exported(opened.build())
    path.mkdir()
    graph.save(path / MODEL, external_data=True)
    settings = config_to_json(config, torch.float32, tokenizer.eot if tokenizer else None)
    (path / "config.json").write_text(json.dumps(settings, indent=2) + "\n", encoding="utf-8")
    for name, content in (tokenizer.files(config.context_length) if tokenizer else {}).items():
        (path / name).write_bytes(content)


class Session:
    """An exported model, run by onnxruntime.

    Raises:
        ImportError: onnxruntime is not installed.
    """

    def __init__(self, path: Path):
        onnxruntime = package("onnxruntime")
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = torch.get_num_threads()
        self.config = load_config(path)
        self._session = onnxruntime.InferenceSession(path / MODEL, options, providers=["CPUExecutionProvider"])

    def __call__(self, tokens: Tensor, past: tuple[Tensor, Tensor] | None = None) -> tuple[Tensor, Tensor, Tensor]:
        """Logits, keys and values after ``tokens``, which follow ``past`` (keys and values) or nothing."""
        config = self.config
        nothing = torch.zeros(config.num_layers, len(tokens), config.num_heads, 0, config.head_dim)
        inputs = (tokens, *(past or (nothing, nothing)))
        feed = {name: tensor.numpy() for name, tensor in zip(INPUTS, inputs, strict=True)}
        logits, k, v = (torch.from_numpy(output) for output in self._session.run(OUTPUTS, feed))
        return logits, k, v


def read(path: Path) -> Opened:
    """The weights of a directory that ``write`` wrote; the graph around them is not looked at.

    Raises:
        ValueError: the weights are not those of the configuration, or lie where none can.
        ImportError: the ``onnx`` package is not installed.
    """
    config, file = load_config(path), RawFile(path / WEIGHTS)
    stored = _weights(path / MODEL)
    wanted = blank(config)
    places = {name: _place(stored[name], file.size) for name in wanted if name in stored}
    check(wanted, {name: torch.empty(tuple(stored[name].dims), device="meta") for name in places})
    check_disjoint((offset, offset + length, name) for name, (offset, length) in places.items() if length)

    def load(name: str) -> Tensor:
        offset, length = places[name]
        content = file.read(offset, length) if length else bytearray(stored[name].raw_data)
        return tensor_of(content, wanted[name].shape, torch.float32)

    tensors = LazyTensors(wanted, load)
    tokenizer = Tokenizer.load(path) if (path / "tokenizer.json").is_file() else None
    return Opened("onnx", config, tensors, tokenizer, {"dtypes": dtypes(tensors), "notes": []})


def _weights(path: Path) -> dict[str, Any]:
    """What the graph says of its weights, by our names."""
    onnx = package("onnx")
    from google.protobuf.message import DecodeError

    if (size := path.stat().st_size) > MAX_GRAPH_BYTES:
        raise ValueError(
            f"{MODEL} has {size:,} bytes, expected at most {MAX_GRAPH_BYTES:,} with the weights in {WEIGHTS}"
        )
    try:
        graph = onnx.load_model_from_string(path.read_bytes()).graph
    except DecodeError as error:
        raise ValueError(f"{MODEL} is no ONNX model: {error}") from None
    prefix = "model."
    return {weight.name.removeprefix(prefix): weight for weight in graph.initializer if weight.name.startswith(prefix)}


def _place(weight: Any, end: int) -> tuple[int, int]:
    """Offset and length of a weight in the file of ``end`` bytes beside the graph; no length for one inside the graph.

    Raises:
        ValueError: it lies in another file or beyond the end of this one, or is not as long as its shape says.
    """
    size = 4 * prod(weight.dims)
    if weight.data_type != FLOAT:
        raise ValueError(f"{weight.name} is stored as ONNX type {weight.data_type}, expected {FLOAT} (float32)")
    entries = {entry.key: entry.value for entry in weight.external_data}
    if entries and (location := entries.get("location")) != WEIGHTS:
        raise ValueError(f"{weight.name} lies in {location!r}, expected {WEIGHTS!r}")
    if (found := int(entries.get("length", len(weight.raw_data)))) != size:
        raise ValueError(f"{weight.name} has {found:,} bytes, its shape {tuple(weight.dims)} takes {size:,}")
    if (offset := int(entries.get("offset", 0))) + size > end and entries:
        raise ValueError(f"{weight.name} would end at byte {offset + size:,} of {end:,}: {WEIGHTS} was cut off")
    return offset, size if entries else 0


FORMAT = Format("onnx", "ONNX with a cache, for onnxruntime", recognizes, read, write)
