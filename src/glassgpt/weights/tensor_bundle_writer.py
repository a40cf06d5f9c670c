"""TensorFlow's checkpoint, a "tensor bundle" of version 2, written without TensorFlow."""

from __future__ import annotations

from pathlib import Path

import torch

from glassgpt.weights.crc32c import masked
from glassgpt.weights.lazy import LazyTensors, dtype_name
from glassgpt.weights.sorted_table import table
from glassgpt.weights.tensor_bundle import FLOATS
from glassgpt.weights.wire import FIXED32, TEXT, VARINT, message


def write_bundle(prefix: Path, tensors: LazyTensors) -> None:
    """Writes ``prefix.index`` and ``prefix.data-00000-of-00001``; memory stays near one tensor."""
    kinds = {dtype: number for number, dtype in FLOATS.items()}
    header = message([(1, VARINT, 1), (3, TEXT, message([(1, VARINT, 1)]))])  # one shard, version 1
    items, offset = [(b"", header)], 0
    with prefix.with_name(prefix.name + ".data-00000-of-00001").open("wb") as file:
        for name in sorted(tensors):
            tensor = tensors[name].detach().cpu().contiguous()
            content = tensor.reshape(-1).view(torch.uint8).numpy().data
            file.write(content)
            shape = b"".join(message([(2, TEXT, message([(1, VARINT, size)]))]) for size in tensor.shape)
            entry = [
                (1, VARINT, kinds[dtype_name(tensor)]), (2, TEXT, shape), (4, VARINT, offset),
                (5, VARINT, content.nbytes), (6, FIXED32, masked(content)),
            ]  # fmt: skip
            items.append((name.encode(), message(entry)))
            offset += content.nbytes
    prefix.with_name(prefix.name + ".index").write_bytes(table(items))
