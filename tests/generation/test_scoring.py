"""Every token of a text gets its logprob once: as read one token at a time, as transformers counts, in any company."""

import math

import pytest
import torch
import torch.nn.functional as F

from glassgpt.generation import scoring
from glassgpt.generation.scoring import Score, logprobs, places
from glassgpt.model.gpt import GPT
from glassgpt.weights.directory import save_model

EOT = 256
LENGTHS = [0, 1, 5, 31, 32, 33, 64, 100]  # the context is 32


def text(length: int) -> list[int]:
    return torch.randint(256, (length,), generator=torch.Generator().manual_seed(length)).tolist()


@torch.inference_mode()
def one_by_one(model: GPT, ids: list[int], stride: int) -> torch.Tensor:
    """The rule as it is documented, token by token: what a token sees, and nothing else."""
    context, line, found = model.config.context_length, [EOT, *ids], []
    for i, id in enumerate(ids):
        start = max(0, math.ceil((i + 1 - context) / stride)) * stride
        logits = model(torch.tensor([line[start : i + 1]]))[0, -1]
        found.append(logits.log_softmax(-1)[id])
    return torch.stack(found) if found else torch.empty(0)


@pytest.mark.parametrize("stride", [1, 5, 16, 31, 32])
def test_windows_give_what_single_tokens_give(model, stride):
    ids = text(70)
    [found] = logprobs(model, [ids], EOT, stride)
    torch.testing.assert_close(found, one_by_one(model, ids, stride), rtol=0, atol=1e-5)


@pytest.mark.parametrize("batch_tokens", [32, 100, 4096])
def test_a_text_gets_in_any_company_what_it_gets_alone(model, monkeypatch, batch_tokens):
    texts = [text(length) for length in LENGTHS]
    alone = [logprobs(model, [ids], EOT)[0] for ids in texts]
    monkeypatch.setattr(scoring, "BATCH_TOKENS", batch_tokens)
    monkeypatch.setattr(scoring, "PIECE", 7)
    for found, expected in zip(logprobs(model, texts, EOT), alone, strict=True):
        torch.testing.assert_close(found, expected, rtol=0, atol=1e-5)


@pytest.mark.parametrize("stride", [1, 7, 16, 32])
@pytest.mark.parametrize("length", LENGTHS)
def test_every_token_is_scored_once_with_as_much_context_as_promised(length, stride):
    seen = [(i, i + 1 - start) for start, first, end in places(length, 32, stride) for i in range(first, end)]
    assert [i for i, _ in seen] == list(range(length))
    assert all(i + 1 >= context >= min(i + 1, 32 - stride + 1) for i, context in seen)
    assert all(context == i + 1 for i, context in seen if i < 32)


@torch.inference_mode()
def test_the_loss_is_that_of_transformers_on_the_same_windows(model, bytes_tokenizer, tmp_path):
    import transformers

    save_model(model, bytes_tokenizer, tmp_path / "model")
    theirs = transformers.GPT2LMHeadModel.from_pretrained(tmp_path / "model").eval()
    ids, nats = text(100), 0.0
    line = torch.tensor([EOT, *ids])
    for start, first, end in places(100, 32, 16):
        labels = line[start + 1 : end + 1].clone()
        labels[: first - start] = -100
        logits = theirs(line[None, start:end]).logits[0]
        nats += F.cross_entropy(logits, labels, reduction="sum").item()
    [found] = logprobs(model, [ids], EOT, 16)
    assert -found.sum().item() == pytest.approx(nats, abs=1e-3)


def test_a_score_says_what_it_adds_up_to():
    score = Score(nats=8 * math.log(2), num_tokens=4, num_bytes=16, stride=16)
    assert score.loss == pytest.approx(2 * math.log(2))
    assert score.perplexity == pytest.approx(4)
    assert score.bits_per_byte == pytest.approx(0.5)


def test_a_loss_beyond_all_bounds_has_a_perplexity():
    assert Score(nats=4e3, num_tokens=4, num_bytes=16, stride=16).perplexity == math.inf
    assert Score(nats=4 * 709.0, num_tokens=4, num_bytes=16, stride=16).perplexity == math.exp(709.0)


def test_progress_ends_at_the_total(model):
    told = []
    logprobs(model, [text(100), text(5)], EOT, progress=lambda *now: told.append(now))
    assert told[-1][0] == told[-1][1] == sum(end - start for start, _, end in places(100, 32, 16)) + 5


def test_what_cannot_be_scored_is_refused(model):
    with pytest.raises(ValueError, match="the stride is 33, expected 1 to the context of 32 tokens"):
        logprobs(model, [[1]], EOT, 33)
    with pytest.raises(ValueError, match="token id 300 is not in the model's vocabulary of 257"):
        logprobs(model, [[1, 300]], EOT)
    assert logprobs(model, [], EOT) == []
