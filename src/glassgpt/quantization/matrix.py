"""What quantized storages share: the layers of a model over them, and the swap. Knows no storage.

O out, I in
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable

import torch
from torch import Tensor, nn

from glassgpt.kernels import onednn
from glassgpt.kernels.few_rows import PIECE, FewRows, MatrixFields, rounded
from glassgpt.model.gpt import GPT

MOST_ROWS = 256  # from where a matrix made float32 is as fast in a product of oneDNN


class QuantizedMatrix(nn.Module):
    """A weight matrix (O, I) of integers, ``values``, and what they are multiplied by, ``scales``."""

    values: Tensor
    scales: Tensor

    def __init__(self, values: Tensor, scales: Tensor, out_features: int, in_features: int):
        super().__init__()
        self.out_features, self.in_features = out_features, in_features
        self.register_buffer("values", values)
        self.register_buffer("scales", scales)

    @abstractmethod
    def plain(self) -> tuple[Tensor, Tensor]:
        """The integers (O, I) as int8 and their scales: what a file holds, however the matrix lies in memory."""

    @abstractmethod
    def rows(self, ids: Tensor) -> Tensor:
        """The rows of these ids (...) as numbers, (..., I) in float32."""

    @abstractmethod
    def fields(self, bias: Tensor | None) -> MatrixFields:
        """The matrix as the compiled library sees it."""

    def dense(self) -> Tensor:
        """The whole matrix as numbers, (O, I) in float32."""
        return self.rows(torch.arange(self.out_features, device=self.values.device))


class QuantizedLinear(FewRows):
    """A linear layer over a quantized matrix; its twin is the product of rounded inputs with ``weight.dense()``."""

    most = MOST_ROWS

    def __init__(self, weight: QuantizedMatrix, bias: nn.Parameter | None = None):
        super().__init__()
        self.weight, self.bias = weight, bias

    @property
    def out_features(self) -> int:
        return self.weight.out_features

    def many(self, x: Tensor) -> Tensor:
        y = product(x, self.weight)
        return y if self.bias is None else y + self.bias

    def matrix(self) -> MatrixFields:
        return self.weight.fields(self.bias)


class QuantizedEmbedding(nn.Module):
    """Rows of a quantized matrix by their ids."""

    def __init__(self, weight: QuantizedMatrix):
        super().__init__()
        self.weight = weight

    def forward(self, ids: Tensor) -> Tensor:
        return self.weight.rows(ids)


class QuantizedTiedHead(FewRows):
    """The output layer of a tied model over the embedding's matrix; it owns nothing."""

    most = MOST_ROWS

    def __init__(self, embedding: QuantizedEmbedding):
        super().__init__()
        self.embedding = (embedding,)  # in a tuple, so that the matrix is not registered a second time

    def many(self, x: Tensor) -> Tensor:
        return product(x, self.embedding[0].weight)

    def matrix(self) -> MatrixFields:
        return self.embedding[0].weight.fields(None)


def product(x: Tensor, weight: QuantizedMatrix) -> Tensor:
    """x (..., I), rounded, times a matrix: (..., O). The matrix is made floating point piece by piece."""
    x, ids = rounded(x), torch.arange(weight.out_features, device=x.device)
    return torch.cat([onednn.faster_linear(x, weight.rows(piece)) for piece in ids.split(PIECE)], dim=-1)


@torch.no_grad()
def quantize(model: GPT, store: Callable[[str, Tensor], QuantizedMatrix]) -> None:
    """Puts a quantized matrix in the place of every one of a model but the position embedding; biases and norms stay.

    ``store`` makes it of the matrix's name in the state dict and its weights, one after the other.
    """
    for path, parent in list(model.named_modules()):
        for name, child in list(parent.named_children()):
            if isinstance(child, nn.Linear):
                place = f"{path}.{name}.weight".removeprefix(".")
                setattr(parent, name, QuantizedLinear(store(place, child.weight), child.bias))
    embedding = QuantizedEmbedding(store("token_embedding.weight", model.token_embedding.weight))
    model.token_embedding = embedding  # pyrefly: ignore[bad-assignment] - another module in its place
    if not isinstance(model.head, QuantizedLinear):
        model.head = QuantizedTiedHead(embedding)


def matrices(model: GPT) -> dict[str, QuantizedMatrix]:
    """The quantized matrices of a model by the names that the plain ones have in the state dict."""
    return {name: module for name, module in model.named_modules() if isinstance(module, QuantizedMatrix)}
