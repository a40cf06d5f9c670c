"""ONNX with a cache: a directory that onnxruntime runs anywhere, and its weights back.

``model.onnx`` takes ``input_ids`` (B, T) and the cache as two tensors ``past_k`` and ``past_v`` (L, B, H, P, D); it
returns ``logits`` (B, T, V) and the grown cache ``k`` and ``v`` (L, B, H, P + T, D). P may be 0. The weights lie beside
it under our names, configuration and tokenizer as in Hugging Face's directories.

B batch, T new tokens, P past tokens, L layers, H heads, D head_dim, V vocabulary
"""

from __future__ import annotations

import json
from pathlib import Path

import torch
from torch import Tensor

from glassgpt.weights.directory_files import load_config
from glassgpt.weights.export_extra import package
from glassgpt.weights.formats import Format
from glassgpt.weights.headers import tokenizer_in
from glassgpt.weights.hugging_face_config import config_to_json
from glassgpt.weights.lazy import LazyTensors
from glassgpt.weights.onnx_graph import INPUTS, OUTPUTS, exported, fill
from glassgpt.weights.onnx_weights import MODEL, open_onnx
from glassgpt.weights.opened import Opened, dtypes
from glassgpt.weights.translate import blank, check


def write(opened: Opened, path: Path, dtype: str | None) -> None:
    """A directory with the model as an ONNX graph; each weight is read when it is written.

    Raises:
        ImportError: a package of the export extra is not installed.
    """
    package("onnxscript")
    config, tokenizer = opened.config, opened.tokenizer
    graph = exported(config)
    fill(graph, opened.tensors.to(torch.float32))
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
    """
    config, tensors = load_config(path), LazyTensors.at(open_onnx(path))
    check(blank(config), tensors.blank)
    return Opened("onnx", config, tensors, tokenizer_in(path), {"dtypes": dtypes(tensors), "notes": []})


FORMAT = Format("onnx", "ONNX with a cache, for onnxruntime", read, write)
