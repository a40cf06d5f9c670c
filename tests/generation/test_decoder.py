import pytest
import torch

from glassgpt.book import generate_text_simple
from glassgpt.generation.decoder import Decoder
from glassgpt.generation.sampling import SamplingParams

PROMPTS = [[5, 80, 9, 33, 21], [7], list(range(40, 52))]
GREEDY = {"temperature": 0.0, "stop_at_eot": False}


def run(model, prompts, seed=1, eot=None, **params):
    decoder = Decoder(model, prompts, SamplingParams(**params), seed, eot)
    tokens = []
    while not decoder.is_finished:
        tokens += decoder.step()
    return decoder, tokens


def without_cache(model, prompt, steps):
    tokens = torch.tensor([prompt])
    return generate_text_simple(model, tokens, steps, model.config.context_length)[0].tolist()


def test_greedy_equals_the_book_without_a_cache(model):
    decoder, _ = run(model, PROMPTS, max_new_tokens=15, **GREEDY)
    assert decoder.tokens == [without_cache(model, prompt, 15) for prompt in PROMPTS]
    assert decoder.finish_reason == ["length"] * 3


@pytest.mark.parametrize("params", [{"temperature": 0.0}, {"temperature": 1.3, "top_p": 0.9}, {"temperature": 2.0}])
def test_a_batch_gives_each_row_what_it_gives_alone(model, params):
    together, _ = run(model, PROMPTS, max_new_tokens=20, repetition_penalty=1.1, **params)
    for row, prompt in enumerate(PROMPTS):
        alone, _ = run(model, [prompt], max_new_tokens=20, repetition_penalty=1.1, **params)
        assert alone.tokens[0] == together.tokens[row]


def test_the_seed_decides(model):
    first, second, other = (run(model, PROMPTS, seed, max_new_tokens=20)[0].tokens for seed in (1, 1, 2))
    assert first == second != other


def test_crop_is_the_books_sliding_window(model):
    decoder, _ = run(model, PROMPTS, max_new_tokens=45, overflow="crop", **GREEDY)
    assert decoder.tokens == [without_cache(model, prompt, 45) for prompt in PROMPTS]


def test_slide_rereads_the_last_half(model):
    decoder, _ = run(model, PROMPTS, max_new_tokens=80, overflow="slide", **GREEDY)
    for row, prompt in enumerate(PROMPTS):
        tokens, window = list(prompt), list(prompt)
        for _ in range(80):
            if len(window) > 32:
                window = tokens[-16:]
            tokens += [model(torch.tensor([window]))[0, -1].argmax().item()]
            window += tokens[-1:]
        assert decoder.tokens[row] == tokens


def test_a_prompt_longer_than_the_context(model):
    long = [index % 250 for index in range(50)]
    for overflow in ("stop", "refuse"):
        with pytest.raises(ValueError, match="the prompt has 50 tokens, the context holds 32"):
            run(model, [long], overflow=overflow)
    cropped, _ = run(model, [long], max_new_tokens=5, overflow="crop", **GREEDY)
    assert cropped.tokens[0] == without_cache(model, long, 5)
    sliding, _ = run(model, [long], max_new_tokens=5, overflow="slide", **GREEDY)
    assert sliding.tokens[0][50:] == without_cache(model, long[-16:], 5)[16:]


def test_the_end_of_the_context_ends_the_text(model):
    decoder, _ = run(model, PROMPTS, max_new_tokens=100, **GREEDY)
    assert decoder.finish_reason == ["context"] * 3
    assert [len(tokens) for tokens in decoder.tokens] == [33, 33, 33]  # the last token is written, but not read
    with pytest.raises(ValueError, match="ask for at most 27 new tokens"):
        run(model, PROMPTS, max_new_tokens=100, overflow="refuse")


def test_end_of_text_ends_a_row_alone(model):
    plain, _ = run(model, PROMPTS, max_new_tokens=15, temperature=0.0)
    eot = plain.tokens[0][9]
    decoder, _ = run(model, PROMPTS, eot=eot, max_new_tokens=15, temperature=0.0)
    for row, tokens in enumerate(decoder.tokens):
        new = plain.tokens[row][len(PROMPTS[row]) :]
        expected = new[: new.index(eot) + 1] if eot in new else new
        assert tokens[len(PROMPTS[row]) :] == expected
    assert decoder.finish_reason[0] == "stop"
    ignoring, _ = run(model, PROMPTS, eot=eot, max_new_tokens=15, **GREEDY)
    assert ignoring.tokens == plain.tokens


def test_logprobs_are_the_models_own(model):
    decoder, tokens = run(model, PROMPTS, max_new_tokens=6, temperature=1.5, top_k=3, num_top=4)
    for row, prompt in enumerate(PROMPTS):
        expected = model(torch.tensor([decoder.tokens[row]]))[0].log_softmax(-1)
        for place, token in enumerate(token for token in tokens if token.row == row):
            here = expected[len(prompt) + place - 1]
            assert token.logprob == pytest.approx(here[token.id].item(), abs=1e-4)
            assert list(token.top) == here.topk(4).indices.tolist()


@pytest.mark.parametrize(
    ("prompts", "message"),
    [
        ([[]], "no tokens"),
        ([[3, 257]], "token id 257 is not in the model's vocabulary of 257"),
        ([[-1]], "token id -1"),
    ],
)
def test_prompts_that_cannot_be_are_refused(model, prompts, message):
    with pytest.raises(ValueError, match=message):
        run(model, prompts)


def test_no_new_tokens_is_a_finished_row(model):
    decoder, tokens = run(model, PROMPTS, max_new_tokens=0)
    assert decoder.finish_reason == ["length"] * 3
    assert tokens == []
