"""Rows that start at a document, and attention that stays inside one."""

from pathlib import Path

import pytest
import torch

from glassgpt.data.batches import Batches
from glassgpt.data.packing import document_ids, row_starts
from glassgpt.data.shards import Shards, write
from glassgpt.model.attention import attend
from glassgpt.model.config import ModelConfig
from glassgpt.model.gpt import GPT, initialize, use_attention

EOT, T = 99, 8


def shards_of(directory: Path, lengths: list[int]) -> Shards:
    """Documents of the given lengths, ``<|endoftext|>`` included."""
    write(directory, {"train": [[7] * (length - 1) for length in lengths]}, 100, EOT, "0" * 64)
    return Shards.open(directory)


@pytest.mark.parametrize(
    ("lengths", "starts"),
    [
        ([9], [0]),  # one document that just fills a row and its last target
        ([4, 4, 4, 4, 4], [0, 8]),  # two documents a row; the third row would lack its last target
        ([6, 6, 6, 6, 6], [0, 12]),  # a row ends inside the second document, which is left out
        ([30, 5, 9], [0, 8, 16, 30]),  # a long document goes on, its last 6 tokens are left out
        ([17, 20], [0, 8, 17, 25]),  # a document that fills its rows exactly, then another
    ],
)
def test_rows_start_at_documents(tmp_path: Path, lengths: list[int], starts: list[int]):
    assert row_starts(shards_of(tmp_path, lengths), T, EOT).tolist() == starts


def test_all_rows_of_short_documents_start_with_end_of_text(tmp_path: Path):
    shards = shards_of(tmp_path, [3, 5, 2, 8, 1, 7, 4, 6] * 50)
    batches = Batches(shards, T, batch_size=16, seed=1, starts=row_starts(shards, T, EOT))
    for step in range(30):
        tokens, targets = batches.at(step)
        assert (tokens[:, 0] == EOT).all()
        assert torch.equal(tokens[:, 1:], targets[:, :-1])


def test_a_text_without_room_for_a_row_is_refused(tmp_path: Path):
    with pytest.raises(ValueError, match="no row of 9 tokens starts at a document"):
        row_starts(shards_of(tmp_path, [4, 4]), T, EOT)


def test_every_token_knows_its_document():
    tokens = torch.tensor([[EOT, 1, 2, EOT, 3, EOT, EOT, 4], [1, 2, 3, EOT, 4, 5, 6, 7]])
    assert document_ids(tokens, EOT).tolist() == [[1, 1, 1, 2, 2, 3, 4, 4], [0, 0, 0, 1, 1, 1, 1, 1]]


def test_a_mask_made_of_them_keeps_documents_apart():
    config = ModelConfig(vocab_size=100, context_length=T, emb_dim=16, num_heads=2, num_layers=2)
    model = initialize(GPT(config), seed=1).eval()
    tokens = torch.tensor([[EOT, 1, 2, 3, EOT, 4, 5, 6]])
    changed = torch.tensor([[EOT, 9, 8, 7, EOT, 4, 5, 6]])
    ids = document_ids(tokens, EOT)
    visible = (ids[:, :, None] == ids[:, None, :]).tril()[:, None]  # (B, 1, T, T)

    plain = model(tokens)
    assert not torch.equal(plain[0, 4:], model(changed)[0, 4:])
    use_attention(model, lambda q, k, v, _, dropout: attend(q, k, v, visible, dropout))
    assert torch.equal(model(tokens)[0, 4:], model(changed)[0, 4:])
    torch.testing.assert_close(model(tokens)[0, :4], plain[0, :4])
