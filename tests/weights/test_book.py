import pytest
import torch

from glassgpt.book import GPTModel
from glassgpt.model.config import ModelConfig
from glassgpt.model.gpt import GPT
from glassgpt.weights.book import from_book, to_book

SETTINGS = {
    "vocab_size": 257, "context_length": 32, "emb_dim": 48, "n_heads": 3, "n_layers": 3, "drop_rate": 0.0,
}  # fmt: skip


@pytest.mark.parametrize("qkv_bias", [False, True])
def test_round_trip_through_the_books_names(qkv_bias):
    settings = SETTINGS | {"qkv_bias": qkv_bias}
    torch.manual_seed(123)
    book, config = GPTModel(settings).eval(), ModelConfig.from_book(settings)
    ours = GPT(config).eval()
    ours.load_state_dict(from_book(book.state_dict(), config))
    tokens = torch.arange(64).view(2, 32)
    torch.testing.assert_close(ours(tokens), book(tokens), rtol=0, atol=1e-5)

    back = to_book(ours)
    assert back.keys() == book.state_dict().keys()
    assert all(torch.equal(tensor, back[name]) for name, tensor in book.state_dict().items())


def test_a_tied_model_takes_only_a_tied_book_model():
    settings = SETTINGS | {"qkv_bias": True}
    book = GPTModel(settings)
    tied = ModelConfig.from_book(settings).model_copy(update={"tied_head": True})
    with pytest.raises(ValueError, match=r"out_head\.weight differs from the token embedding"):
        from_book(book.state_dict(), tied)
    book.out_head.weight = book.tok_emb.weight
    assert "head.weight" not in from_book(book.state_dict(), tied)


def test_wrong_sizes_are_named():
    settings = SETTINGS | {"qkv_bias": False}
    book = GPTModel(settings)
    with pytest.raises(ValueError, match=r"pos_emb\.weight is \(32, 48\), expected \(64, 48\)"):
        from_book(book.state_dict(), ModelConfig.from_book(settings | {"context_length": 64}))
