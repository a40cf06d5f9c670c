import pytest
import torch

from glassgpt.model.cache import Cache

TOKENS = torch.arange(60).view(3, 20) * 4


def test_reading_in_pieces_equals_reading_at_once(model, tiny):
    cache = Cache(tiny, batch=3)
    pieces = [model(piece, cache) for piece in TOKENS.split([5, 4, 1, 1, 9], dim=1)]
    torch.testing.assert_close(torch.cat(pieces, 1), model(TOKENS), rtol=0, atol=1e-5)


def test_rows_of_different_length_do_not_disturb_each_other(model, tiny):
    full, lengths = model(TOKENS), [2, 6, 4]
    cache = Cache(tiny, batch=3)
    model(TOKENS[:, :6], cache)
    cache.rewind(lengths)
    following = torch.stack([row[n : n + 3] for row, n in zip(TOKENS, lengths, strict=True)])
    expected = torch.stack([row[n : n + 3] for row, n in zip(full, lengths, strict=True)])
    torch.testing.assert_close(model(following, cache), expected, rtol=0, atol=1e-5)


@pytest.mark.parametrize("rows", [[2, 0], [1, 2], [1]])
def test_selected_rows_go_on_and_leave_the_others_alone(model, tiny, rows):
    full, lengths, following = model(TOKENS), [2, 6, 4], lambda row: TOKENS[row, lengths[row] :][:2]
    cache = Cache(tiny, batch=3)
    model(TOKENS[:, :6], cache)
    cache.rewind(lengths)
    cache.select(rows)
    result = model(torch.stack([following(row) for row in rows]), cache)
    expected = torch.stack([full[row, lengths[row] :][:2] for row in rows])
    torch.testing.assert_close(result, expected, rtol=0, atol=1e-5)
    cache.select(range(3))
    assert cache.lengths == [n + 2 * (row in rows) for row, n in enumerate(lengths)]


def test_one_row_can_be_filled_anew(model, tiny):
    cache = Cache(tiny, batch=2)
    model(TOKENS[:2, :5], cache)
    cache.select([1])
    cache.rewind([0])
    model(TOKENS[2:, :7], cache)
    cache.select([0, 1])
    following = torch.stack([TOKENS[0, 5:6], TOKENS[2, 7:8]])
    expected = torch.stack([model(TOKENS)[0, 5:6], model(TOKENS)[2, 7:8]])
    torch.testing.assert_close(model(following, cache), expected, rtol=0, atol=1e-5)


def test_a_row_can_begin_like_another(model, tiny):
    cache = Cache(tiny, batch=2)
    model(TOKENS[:2, :7], cache)
    cache.copy(0, 1, 5)
    cache.select([1])
    torch.testing.assert_close(model(TOKENS[:1, 5:9], cache), model(TOKENS[:1])[:, 5:9], rtol=0, atol=1e-5)


def test_a_full_cache_is_refused(model, tiny):
    cache = Cache(tiny, batch=1, capacity=8)
    model(TOKENS[:1, :8], cache)
    with pytest.raises(ValueError, match="8 \\+ 1 tokens do not fit a cache of 8"):
        model(TOKENS[:1, :1], cache)
    with pytest.raises(ValueError, match="exceeds the context"):
        Cache(tiny, batch=1, capacity=33)
