"""Every way to the logits gives those of the book's model. One table of ways, one assertion."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from glassgpt.book import GPTModel
from glassgpt.kernels import onednn
from glassgpt.kernels.blocks import use_fused_blocks
from glassgpt.kernels.compiled import library
from glassgpt.kernels.few_rows import use_few_rows
from glassgpt.model.cache import Cache
from glassgpt.model.config import ModelConfig
from glassgpt.model.gpt import GPT, use_attention
from glassgpt.model.static_cache import StaticCache
from glassgpt.tokenizer.tokenizer import Tokenizer
from glassgpt.tokenizer.vocabulary import BYTES
from glassgpt.weights.book import from_book, to_book
from glassgpt.weights.directory import load_model, save_model

SETTINGS = {
    "vocab_size": 257, "context_length": 32, "emb_dim": 48, "n_heads": 3, "n_layers": 3, "drop_rate": 0.0,
    "qkv_bias": True,
}  # fmt: skip
TOKENS = torch.randint(257, (2, 24), generator=torch.Generator().manual_seed(5))

Way = Callable[[GPT, Path], Tensor]  # the model and a folder to work in -> logits of TOKENS


@pytest.fixture(scope="module")
def book() -> GPTModel:
    torch.manual_seed(123)
    return GPTModel(SETTINGS).eval()


def ours(book: GPTModel) -> GPT:
    config = ModelConfig.from_book(SETTINGS)
    model = GPT(config).eval()
    model.load_state_dict(from_book(book.state_dict(), config))
    return model


def plain(model: GPT, _: Path) -> Tensor:
    return model(TOKENS)


def in_pieces(*sizes: int) -> Way:
    def way(model: GPT, _: Path) -> Tensor:
        cache = Cache(model.config, batch=2)
        return torch.cat([model(piece, cache) for piece in TOKENS.split(sizes, dim=1)], dim=1)

    return way


def ragged(model: GPT, _: Path) -> Tensor:
    """The second row lags five tokens behind the first, in one batch."""
    cache = Cache(model.config, batch=2)
    start = model(TOKENS[:, :10], cache)
    cache.rewind([10, 5])
    rest = [torch.cat([row[n:], row.new_zeros(n - 5)]) for row, n in zip(TOKENS, (10, 5), strict=True)]
    after = model(torch.stack([F.pad(row, (0, 19 - len(row))) for row in rest]), cache)
    return torch.stack([torch.cat([start[0, :10], after[0, :14]]), torch.cat([start[1, :5], after[1]])])


def ragged_steps(model: GPT, _: Path) -> Tensor:
    """As ``ragged``, one token at a time after the first ten."""
    cache = Cache(model.config, batch=2)
    start = model(TOKENS[:, :10], cache)
    cache.rewind([10, 5])
    ahead, behind = [start[0, :10]], [start[1, :5]]
    for step in range(14):
        both = model(torch.stack([TOKENS[0, 10 + step], TOKENS[1, 5 + step]])[:, None], cache)
        ahead.append(both[0])
        behind.append(both[1])
    cache.select([1])
    behind.append(model(TOKENS[1:, 19:], cache)[0])
    return torch.stack([torch.cat(ahead), torch.cat(behind)])


def over_a_static_cache(model: GPT, _: Path) -> Tensor:
    """The first ten tokens over a plain cache, the others one by one over a view of it that never moves."""
    cache = Cache(model.config, batch=3)
    cache.select([2, 0])
    start = model(TOKENS[:, :10], cache)
    static = StaticCache(cache, batch=2)
    static.load(cache.rows, cache.lengths)
    rest = [model(TOKENS[:, n : n + 1], static) for n in range(10, 24)]
    return torch.cat([start, *rest], dim=1)


def each_row_alone(model: GPT, _: Path) -> Tensor:
    return torch.cat([model(row[None]) for row in TOKENS])


def explicit_attention(model: GPT, _: Path) -> Tensor:
    def attend(q: Tensor, k: Tensor, v: Tensor, visible: Tensor | None, dropout: float) -> Tensor:
        T, S = q.shape[2], k.shape[2]
        if visible is None:
            visible = torch.ones(T, S, dtype=torch.bool).tril(S - T)
        scores = (q @ k.transpose(2, 3) / q.shape[3] ** 0.5).masked_fill(~visible, float("-inf"))
        return scores.softmax(-1) @ v

    use_attention(model, attend)
    return model(TOKENS)


def oneDNN(model: GPT, _: Path) -> Tensor:
    onednn.use_onednn(model)
    return model(TOKENS)


def own_kernels(reading: Way) -> Way:
    """The compiled library for few rows and whole blocks, by one of the ways to read with a cache."""

    def way(model: GPT, folder: Path) -> Tensor:
        if library() is None:
            pytest.skip("no compiler for the kernels")
        use_few_rows(model)
        use_fused_blocks(model)
        return reading(model, folder)

    return way


def compiled(model: GPT, _: Path) -> Tensor:
    for block in model.blocks:
        block.compile()
    return model(TOKENS)


def saved_and_loaded(model: GPT, folder: Path) -> Tensor:
    save_model(model, Tokenizer(BYTES), folder / "model")
    return load_model(folder / "model")(TOKENS)


def through_transformers(model: GPT, folder: Path) -> Tensor:
    import transformers

    save_model(model, Tokenizer(BYTES), folder / "model")
    return transformers.GPT2LMHeadModel.from_pretrained(folder / "model").eval()(TOKENS).logits


def through_the_book(model: GPT, _: Path) -> Tensor:
    book = GPTModel(SETTINGS).eval()
    book.load_state_dict(to_book(model))
    return book(TOKENS)


def bfloat16(model: GPT, _: Path) -> Tensor:
    return model.bfloat16()(TOKENS).float()


EXACT, LOOSE = 1e-5, 0.05  # bfloat16 keeps 8 bits; the logits are of order 1

WAYS: dict[str, tuple[Way, float]] = {
    "gpt": (plain, EXACT),
    "cached prefill and decode": (in_pieces(20, 1, 1, 1, 1), EXACT),
    "chunked prefill": (in_pieces(7, 7, 10), EXACT),
    "token by token": (in_pieces(*[1] * 24), EXACT),
    "ragged batch": (ragged, EXACT),
    "ragged batch, step by step": (ragged_steps, EXACT),
    "over a static cache": (over_a_static_cache, EXACT),
    "each row alone": (each_row_alone, EXACT),
    "explicit attention": (explicit_attention, EXACT),
    "oneDNN": (oneDNN, EXACT),
    "own kernels, prefill and decode": (own_kernels(in_pieces(20, 1, 1, 1, 1)), EXACT),
    "own kernels, token by token": (own_kernels(in_pieces(*[1] * 24)), EXACT),
    "own kernels, a few tokens at a time": (own_kernels(in_pieces(4, 3, 2, 1, 4, 4, 4, 2)), EXACT),
    "own kernels, ragged": (own_kernels(ragged_steps), EXACT),
    "compiled": (compiled, EXACT),
    "saved and loaded": (saved_and_loaded, EXACT),
    "through transformers": (through_transformers, EXACT),
    "through the book": (through_the_book, EXACT),
    "bfloat16": (bfloat16, LOOSE),
}


@pytest.mark.parametrize("name", WAYS)
@torch.inference_mode()
def test_logits_equal_the_books(book, name, tmp_path):
    way, tolerance = WAYS[name]
    torch.testing.assert_close(way(ours(book), tmp_path), book(TOKENS), rtol=0, atol=tolerance)


def test_a_wrong_model_is_noticed(book):
    """The positive control: a difference as small as the exact GELU's shows."""
    model = ours(book)
    for block in model.blocks:
        block.mlp.forward = lambda x, mlp=block.mlp: mlp.down(F.gelu(mlp.up(x)))
    assert (model(TOKENS) - book(TOKENS)).abs().max() > EXACT


@torch.no_grad()
def test_the_whole_124M_model_with_the_books_weights():
    from glassgpt.book import GPT_CONFIG_124M

    torch.manual_seed(123)
    book = GPTModel(GPT_CONFIG_124M).eval()
    config = ModelConfig.from_book(GPT_CONFIG_124M)
    with torch.device("meta"):
        model = GPT(config).eval()
    model.load_state_dict(from_book(book.state_dict(), config), assign=True)
    tokens = torch.randint(50257, (1, 64), generator=torch.Generator().manual_seed(1))
    torch.testing.assert_close(model(tokens), book(tokens), rtol=0, atol=1e-4)
