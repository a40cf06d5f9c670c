"""Speculation gives the tokens of the plain engine, whoever guesses, and however well."""

from collections import Counter
from itertools import product
from random import Random

import pytest
import torch

import glassgpt.quantization.precision as precision
from glassgpt.generation.engine import Engine
from glassgpt.generation.sampling import SamplingParams
from glassgpt.generation.sequence import Sequence
from glassgpt.generation.speculation import DraftModel, SpeculativeEngine, lookup
from glassgpt.generation.text import LanguageModel
from glassgpt.kernels.compiled import library
from glassgpt.model.cache import Cache
from glassgpt.model.config import ModelConfig
from glassgpt.model.gpt import GPT, initialize
from glassgpt.tokenizer.tokenizer import Tokenizer

PROMPTS = [[5, 80, 9, 33, 5, 80], [7], list(range(40, 52))]


def finish(engine, prompt, seed=1, **params) -> Sequence:
    sequence = engine.add(prompt, SamplingParams(**params), seed)
    while not engine.is_idle:
        engine.step()
    return sequence


def copied(model: GPT, noise: float = 0.0) -> GPT:
    """A model that agrees with another, or only often."""
    copy = GPT(model.config).eval()
    copy.load_state_dict(model.state_dict())
    generator = torch.Generator().manual_seed(1)
    for parameter in copy.parameters():
        parameter.data += noise * parameter.std() * torch.randn(parameter.shape, generator=generator)
    return copy


def at_random(sequence: Sequence, count: int) -> list[int]:
    random = Random(len(sequence.tokens))
    return [random.randrange(250) for _ in range(random.randint(0, count))]


class Oracle:
    """Guesses what the plain engine has written, with a mistake at every fifth place."""

    def __init__(self, tokens: list[int]):
        self.tokens = [token if place % 5 else 0 for place, token in enumerate(tokens)]

    def __call__(self, sequence: Sequence, count: int) -> list[int]:
        return self.tokens[len(sequence.tokens) :][:count]


@pytest.mark.parametrize(
    "params",
    [
        {"temperature": 0.0},
        {"temperature": 0.0, "repetition_penalty": 1.3, "num_top": 3},
        {"temperature": 1.3, "top_p": 0.9},
        {"temperature": 0.7, "top_k": 20, "min_p": 0.01, "repetition_penalty": 1.1},
    ],
    ids=["greedy", "penalty", "top_p", "all"],
)
@pytest.mark.parametrize("overflow", ["stop", "slide", "crop"])
def test_the_tokens_are_those_of_the_plain_engine(model, params, overflow):
    settings = {"max_new_tokens": 45, "overflow": overflow, **params}
    for seed, prompt in enumerate(PROMPTS):
        plain = finish(Engine(model, num_rows=1), prompt, seed, **settings)
        proposals = [lookup, at_random, DraftModel(copied(model, 0.1)), Oracle(plain.tokens)]
        for propose in proposals:
            guessed = finish(SpeculativeEngine(model, propose), prompt, seed, **settings)
            assert (guessed.tokens, guessed.finish_reason) == (plain.tokens, plain.finish_reason)


def test_many_seeds_give_the_tokens_of_plain_sampling(model):
    plain, guessing = Engine(model, num_rows=1), SpeculativeEngine(model, DraftModel(copied(model, 0.1)))
    settings = {"temperature": 1.0, "max_new_tokens": 12}
    for seed in range(80):
        expected = finish(plain, PROMPTS[0], seed, **settings).tokens
        assert finish(guessing, PROMPTS[0], seed, **settings).tokens == expected
    assert 0 < guessing.tally.accepted < guessing.tally.proposed  # some were right and some were wrong


def test_sampling_keeps_the_models_distribution():
    config = ModelConfig(vocab_size=4, context_length=8, emb_dim=16, num_heads=2, num_layers=1)
    model = initialize(GPT(config), seed=3).eval()
    model.token_embedding.weight.data.mul_(15.0)
    engine, prompt, num_new, num_texts = SpeculativeEngine(model, DraftModel(copied(model, 0.3))), [1, 2], 3, 1500
    found = Counter(
        tuple(finish(engine, prompt, seed, temperature=1.0, top_p=None, max_new_tokens=num_new).tokens[2:])
        for seed in range(num_texts)
    )
    texts = list(product(range(4), repeat=num_new))
    with torch.no_grad():
        logprobs = model(torch.tensor([[*prompt, *text] for text in texts])).log_softmax(-1)[:, 1:-1]
    expected = num_texts * logprobs.gather(2, torch.tensor(texts)[:, :, None]).sum((1, 2)).exp()
    squares = sum((found[text] - count) ** 2 / count for text, count in zip(texts, expected.tolist(), strict=True))
    assert squares < 103.4  # chi-square with 63 degrees of freedom exceeds it once in a thousand
    assert 0.2 < engine.tally.accepted / engine.tally.proposed < 0.99


def test_a_draft_that_agrees_saves_passes(model):
    engine = SpeculativeEngine(model, DraftModel(copied(model)), num_guesses=4)
    finish(engine, PROMPTS[0], temperature=0.0, max_new_tokens=21)
    # The prompt's pass gives a token; each of the others the four guesses and the one after them.
    assert (engine.tally.passes, engine.tally.proposed, engine.tally.accepted) == (4, 16, 16)


def test_a_stop_id_inside_a_run_of_right_guesses_ends_the_text(model):
    plain = finish(Engine(model), PROMPTS[0], temperature=0.0, max_new_tokens=15)
    stop = plain.tokens[len(PROMPTS[0]) + 6]
    for end in ({"stop_ids": (stop,)}, {}):
        engine = SpeculativeEngine(model, Oracle(plain.tokens), eot=None if end else stop)
        guessed = finish(engine, PROMPTS[0], temperature=0.0, max_new_tokens=15, **end)
        assert guessed.finish_reason == "stop"
        assert guessed.tokens == plain.tokens[: plain.tokens.index(stop, len(PROMPTS[0])) + 1]
        # What was guessed beyond the end is no part of what another text begins with.
        beginning = {"prompt": plain.tokens[:9], "temperature": 0.0, "max_new_tokens": 9, "stop_at_eot": False}
        assert finish(engine, **beginning).tokens == finish(Engine(model), **beginning).tokens


def test_another_comes_after_one_that_was_cancelled_amid_right_guesses(model):
    plain = [finish(Engine(model), prompt, temperature=0.0, max_new_tokens=15) for prompt in PROMPTS]
    engine = SpeculativeEngine(model, Oracle(plain[0].tokens))
    params = SamplingParams(temperature=0.0, max_new_tokens=15)
    first, second = engine.add(PROMPTS[0], params, 1), engine.add(PROMPTS[2], params, 1)
    for _ in range(3):
        engine.step()
    engine.finish(first)
    while not engine.is_idle:
        engine.step()
    assert first.tokens == plain[0].tokens[: len(PROMPTS[0]) + 3]
    assert second.tokens == plain[2].tokens


def test_a_draft_with_a_shorter_context_falls_silent(model):
    config = model.config.model_copy(update={"context_length": 10})
    draft = DraftModel(initialize(GPT(config), seed=5).eval())
    settings = {"temperature": 0.0, "max_new_tokens": 20}
    plain = finish(Engine(model), PROMPTS[0], **settings)
    assert finish(SpeculativeEngine(model, draft), PROMPTS[0], **settings).tokens == plain.tokens


@pytest.mark.parametrize(
    ("tokens", "guesses"),
    [
        ([1, 2, 3, 9, 1, 2], [3, 9, 1, 2]),  # as it went on before
        ([1, 2, 3, 4, 1, 2, 5, 9, 1, 2], [5, 9, 1, 2]),  # the latest time
        ([7, 1, 2, 3, 8, 1, 2, 5, 7, 1, 2], [3, 8, 1, 2]),  # the longest ending rather than the latest
        ([8, 6, 7, 6, 7], [6, 7, 6, 7]),  # a text that turns in circles
        ([1, 2, 3, 2], []),  # one token is no ending
        ([1], []),
    ],
)
def test_lookup(tokens, guesses):
    assert lookup(Sequence(0, tuple(tokens), SamplingParams(), 1, 0, 32), 4) == guesses


@pytest.mark.skipif(library() is None, reason="no compiler for the kernels, so no promise to the bit")
@pytest.mark.parametrize("kept", precision.PRECISIONS)
@torch.inference_mode()
def test_guesses_are_read_to_the_bit_like_single_tokens(kept):
    config = ModelConfig(vocab_size=257, context_length=32, emb_dim=64, num_heads=2, num_layers=2)
    model = initialize(GPT(config), seed=1).eval()
    precision.use_precision(model, kept)
    tokens = torch.arange(24)[None] * 7 % 250
    together, single = Cache(config, 1), Cache(config, 1)
    for cache in (together, single):
        model.hidden(tokens[:, :9], cache)
    logits = model.unembed(model.hidden(tokens[:, 9:17], together)[0])
    for place, row in enumerate(logits):
        alone = model.unembed(model.hidden(tokens[:, 9 + place : 10 + place], single)[:, -1])
        assert torch.equal(alone[0], row)


def test_text_is_the_same_with_speculation(model, bytes_tokenizer):
    gpt, draft = LanguageModel(model, bytes_tokenizer), LanguageModel(copied(model, 0.1), bytes_tokenizer)
    plain = gpt.complete(["Once", "Twice"], n=2, seed=3, max_new_tokens=20, stop=("e",))
    for speculate in ("lookup", draft):
        guessed = gpt.complete(["Once", "Twice"], n=2, seed=3, max_new_tokens=20, stop=("e",), speculate=speculate)
        assert [completion.text for completion in guessed] == [completion.text for completion in plain]
        assert "".join(gpt.stream("Once", seed=3, max_new_tokens=20, stop=("e",), speculate=speculate)) == plain[0].text


def test_what_cannot_guess_is_refused(model, bytes_tokenizer):
    gpt = LanguageModel(model, bytes_tokenizer)
    other = Tokenizer([*bytes_tokenizer.tokens[:-2], *reversed(bytes_tokenizer.tokens[-2:])])
    with pytest.raises(ValueError, match="draft model's vocabulary"):
        gpt.generate("Once", speculate=LanguageModel(model, other))
    with pytest.raises(ValueError, match="there is no speculation 'luck'"):
        gpt.generate("Once", speculate="luck")
    with pytest.raises(ValueError, match="one sequence at a time, 4 rows were given"):
        gpt.writer(speculate="lookup", num_rows=4)
