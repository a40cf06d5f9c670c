"""A request's tokens depend on the request alone: not on its company, on chunks, on what was cached, or on who asks.

In float32 on the CPU the compiled library gives every token the same bits wherever it is read, so all comparisons are
exact. The twin is ``simple_loop``: no engine, no batch, and all tokens read anew for every new one.
"""

from __future__ import annotations

from dataclasses import dataclass
from random import Random
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from glassgpt.generation.engine import Engine
from glassgpt.generation.sampling import SamplingParams, draw, sample
from glassgpt.generation.sequence import Sequence
from glassgpt.generation.speculation import DraftModel, SpeculativeEngine, lookup
from glassgpt.generation.text import LanguageModel
from glassgpt.kernels.blocks import use_fused_blocks
from glassgpt.kernels.compiled import library
from glassgpt.kernels.few_rows import use_few_rows
from glassgpt.model.cache import Cache
from glassgpt.model.config import ModelConfig
from glassgpt.model.gpt import GPT, initialize
from glassgpt.tokenizer.tokenizer import Tokenizer
from glassgpt.tokenizer.vocabulary import BYTES

pytestmark = pytest.mark.skipif(library() is None, reason="no compiler for the kernels, so no promise to the bit")

VOCABULARY, CONTEXT = 257, 32


@dataclass(frozen=True)
class Request:
    prompt: tuple[int, ...]
    params: SamplingParams
    seed: int
    choice: int


def prepared(emb_dim: int, num_heads: int) -> GPT:
    config = ModelConfig(
        vocab_size=VOCABULARY, context_length=CONTEXT, emb_dim=emb_dim, num_heads=num_heads, num_layers=3
    )
    model = initialize(GPT(config), seed=1).eval()
    for name, parameter in model.named_parameters():
        if "norm" not in name:
            parameter.data.mul_(5.0)  # so that what a token follows from matters
    use_few_rows(model)
    use_fused_blocks(model)
    return model


MODEL = prepared(48, 3)


@torch.inference_mode()
def simple_loop(model: GPT, request: Request) -> list[int]:
    """The tokens of a request, prompt included, as one would write it down: every step reads the whole text anew."""
    params, tokens, window = request.params, list(request.prompt), list(request.prompt)
    for _ in range(params.max_new_tokens):
        if len(window) > CONTEXT:
            if params.overflow == "stop":
                break
            window = window[-(CONTEXT // 2 if params.overflow == "slide" else CONTEXT) :]
        hidden = model.hidden(torch.tensor([window]), Cache(model.config, 1))
        number = draw(request.seed, request.choice, len(tokens))
        id = int(sample(model.unembed(hidden[:, -1]), [number], [tokens], params))
        tokens, window = [*tokens, id], [*window, id]
        if id in params.stop_ids:
            break
    return tokens


def stem(length: int) -> list[int]:
    """Prompts share beginnings, so that the engine has something to reuse."""
    return [(7 * index) % 250 for index in range(length)]


def a_request(random: Random) -> Request:
    prompt = stem(random.randrange(24)) + [random.randrange(VOCABULARY) for _ in range(random.randrange(1, 8))]
    choices: dict[str, list[Any]] = {
        "max_new_tokens": [1, 3, 8, 20],
        "temperature": [0.0, 0.7, 1.0, 2.0],
        "top_k": [None, 1, 5, 40],
        "top_p": [None, 0.5, 0.95],
        "min_p": [None, 0.02],
        "repetition_penalty": [1.0, 1.3],
        "overflow": ["stop", "slide", "crop"],
        "stop_ids": [(), tuple(range(0, VOCABULARY, 20))],
        "num_top": [0, 3],
    }
    params = SamplingParams(**{name: random.choice(values) for name, values in choices.items()})
    return Request(tuple(prompt), params, random.randrange(2**32), random.randrange(3))


def under_pressure(model: GPT, requests: list[Request], random: Random) -> list[Sequence]:
    """Runs requests through one engine with few rows and small steps; they arrive over time, some are cancelled."""
    num_rows = random.randint(1, 6)
    engine = Engine(model, num_rows=num_rows, max_step_tokens=num_rows + random.randint(1, 40))
    sequences: list[Sequence] = []
    while not engine.is_idle or len(sequences) < len(requests):
        for request in requests[len(sequences) :][: random.randrange(4)]:
            sequences.append(engine.add(request.prompt, request.params, request.seed, request.choice))
        if random.random() < 0.05:
            engine.finish(random.choice(sequences or [engine.add([1], SamplingParams(max_new_tokens=0), 1)]))
        engine.step()
    return sequences


def assert_each_is_as_alone(model: GPT, requests: list[Request], sequences: list[Sequence]) -> None:
    for request, sequence in zip(requests, sequences, strict=True):
        alone = simple_loop(model, request)
        if sequence.finish_reason == "cancelled":
            alone = alone[: len(sequence.tokens)]
        assert sequence.tokens == alone, request


@given(st.integers(0, 2**32), st.integers(1, 8))
@settings(max_examples=40, deadline=None)
def test_the_engine_gives_every_request_what_the_simple_loop_gives(number, count):
    random = Random(number)
    requests = [a_request(random) for _ in range(count)]
    assert_each_is_as_alone(MODEL, requests, under_pressure(MODEL, requests, random))


def test_three_hundred_requests_never_see_each_other():
    random = Random(1)
    requests = [a_request(random) for _ in range(300)]
    assert_each_is_as_alone(MODEL, requests, under_pressure(MODEL, requests, random))


@pytest.mark.parametrize("propose", [lookup, DraftModel(MODEL)], ids=["lookup", "draft"])
def test_speculation_gives_every_request_what_the_simple_loop_gives(propose):
    random = Random(4)
    requests = [a_request(random) for _ in range(60)]
    engine = SpeculativeEngine(MODEL, propose)
    sequences = [engine.add(request.prompt, request.params, request.seed, request.choice) for request in requests]
    while not engine.is_idle:
        engine.step()
    assert_each_is_as_alone(MODEL, requests, sequences)
    assert engine.tally.accepted > 0


@pytest.mark.release
@pytest.mark.timeout(1800)
def test_ten_thousand_requests_never_see_each_other():
    random = Random(2)
    for _ in range(20):
        requests = [a_request(random) for _ in range(500)]
        assert_each_is_as_alone(MODEL, requests, under_pressure(MODEL, requests, random))


def test_a_cache_that_leaks_is_noticed(monkeypatch):
    """The positive control: copying a prefix that is one token too long shows at once."""
    right = Cache.copy

    def wrong(cache: Cache, source: int, target: int, length: int) -> None:
        right(cache, source, target, length)
        cache._store[:, :, target, :, length - 1] = cache._store[:, :, source, :, length]

    random = Random(3)
    requests = [a_request(random) for _ in range(30)]
    monkeypatch.setattr(Cache, "copy", wrong)
    with pytest.raises(AssertionError):
        assert_each_is_as_alone(MODEL, requests, under_pressure(MODEL, requests, random))


@pytest.mark.parametrize(("emb_dim", "num_heads"), [(48, 3), (50, 5), (192, 4)])
@given(st.data())
@settings(max_examples=15, deadline=None)
@torch.inference_mode()
def test_a_token_has_the_same_bits_wherever_it_is_read(emb_dim, num_heads, data):
    model = prepared(emb_dim, num_heads)
    tokens = torch.randint(VOCABULARY, (7, CONTEXT), generator=torch.Generator().manual_seed(2))
    rows = data.draw(st.permutations(range(7)))[: data.draw(st.integers(1, 7))]
    cuts = sorted(data.draw(st.sets(st.integers(1, CONTEXT - 1))))
    sizes = [end - start for start, end in zip([0, *cuts], [*cuts, CONTEXT], strict=True)]
    cache = Cache(model.config, 7)
    cache.select(rows)
    threads = torch.get_num_threads()
    torch.set_num_threads(data.draw(st.integers(1, 3)))
    hidden = torch.cat([model.hidden(piece, cache) for piece in tokens[rows].split(sizes, dim=1)], dim=1)
    logits = torch.stack([model.unembed(hidden[:, position]) for position in range(CONTEXT)], dim=1)
    torch.set_num_threads(threads)
    for place, row in enumerate(rows):
        assert torch.equal(logits[place], model(tokens[row : row + 1], Cache(model.config, 1))[0])


def test_streamed_alone_or_among_others_a_text_is_the_same():
    gpt = LanguageModel(MODEL, Tokenizer(BYTES))
    prompts = ["Once", "", "Once upon", "To be"]
    together = gpt.complete(prompts, n=3, seed=5, max_new_tokens=20, stop=("e",))
    writer = gpt.writer(num_rows=1)
    for prompt in prompts:
        chosen = [completion for completion in together if completion.prompt == prompt]
        assert "".join(gpt.stream(prompt, seed=5, max_new_tokens=20, stop=("e",))) == chosen[0].text
        for completion in chosen:
            alone = writer.add(prompt, SamplingParams(max_new_tokens=20, stop=("e",)), 5, completion.choice)
            while not writer.is_idle:
                writer.step()
            assert (alone.text, alone.tokens) == (completion.text, completion.tokens)
