from contextlib import suppress
from itertools import count
from typing import Any

import pytest
import torch

from glassgpt.book import generate_text_simple
from glassgpt.generation.engine import Engine, rows_within
from glassgpt.generation.sampling import SamplingParams
from glassgpt.generation.scheduler import QueueFull
from glassgpt.generation.sequence import Sequence

PROMPTS = [[5, 80, 9, 33, 21], [7], list(range(40, 52))]
GREEDY = {"temperature": 0.0, "stop_at_eot": False}


def run(model, prompts, seed=1, eot=None, limits=None, **params) -> list[Sequence]:
    """The sequences of some prompts, continued together to their ends."""
    engine = Engine(model, eot=eot, **(limits or {}))
    sequences = [engine.add(prompt, SamplingParams(**params), seed) for prompt in prompts]
    while not engine.is_idle:
        engine.step()
    return sequences


def tokens(sequences) -> list[list[int]]:
    return [sequence.tokens for sequence in sequences]


def without_cache(model, prompt, steps):
    tokens = torch.tensor([prompt])
    return generate_text_simple(model, tokens, steps, model.config.context_length)[0].tolist()


def test_greedy_equals_the_book_without_a_cache(model):
    sequences = run(model, PROMPTS, max_new_tokens=15, **GREEDY)
    assert tokens(sequences) == [without_cache(model, prompt, 15) for prompt in PROMPTS]
    assert [sequence.finish_reason for sequence in sequences] == ["length"] * 3


@pytest.mark.parametrize("params", [{"temperature": 0.0}, {"temperature": 1.3, "top_p": 0.9}, {"temperature": 2.0}])
def test_each_gets_what_it_gets_alone(model, params):
    together = run(model, PROMPTS, max_new_tokens=20, repetition_penalty=1.1, **params)
    for prompt, sequence in zip(PROMPTS, together, strict=True):
        [alone] = run(model, [prompt], max_new_tokens=20, repetition_penalty=1.1, **params)
        assert alone.tokens == sequence.tokens


def test_those_that_find_no_row_wait(model):
    expected = tokens(run(model, PROMPTS, max_new_tokens=9, **GREEDY))
    assert tokens(run(model, PROMPTS, limits={"num_rows": 1}, max_new_tokens=9, **GREEDY)) == expected


def test_the_seed_and_the_choice_decide(model):
    engine, params = Engine(model), SamplingParams(max_new_tokens=20)
    keys = [(1, 0), (1, 0), (2, 0), (1, 1)]
    sequences = [engine.add(PROMPTS[0], params, seed, choice) for seed, choice in keys]
    while not engine.is_idle:
        engine.step()
    first, again, other_seed, other_choice = tokens(sequences)
    assert first == again
    assert len({tuple(first), tuple(other_seed), tuple(other_choice)}) == 3


def test_different_parameters_share_a_step(model):
    settings: list[dict[str, Any]] = [
        {"temperature": 0.0},
        {"temperature": 1.5},
        {"temperature": 1.5, "num_top": 2},
        {"top_k": 3},
    ]
    alone = [run(model, PROMPTS[:1], max_new_tokens=8, **setting)[0].tokens for setting in settings]
    engine = Engine(model)
    mixed = [engine.add(PROMPTS[0], SamplingParams(max_new_tokens=8, **setting), 1) for setting in settings]
    while not engine.is_idle:
        engine.step()
    assert tokens(mixed) == alone


def test_crop_is_the_books_sliding_window(model):
    sequences = run(model, PROMPTS, max_new_tokens=45, overflow="crop", **GREEDY)
    assert tokens(sequences) == [without_cache(model, prompt, 45) for prompt in PROMPTS]


def test_slide_rereads_the_last_half(model):
    sequences = run(model, PROMPTS, max_new_tokens=80, overflow="slide", **GREEDY)
    for prompt, sequence in zip(PROMPTS, sequences, strict=True):
        tokens, window = list(prompt), list(prompt)
        for _ in range(80):
            if len(window) > 32:
                window = tokens[-16:]
            tokens += [model(torch.tensor([window]))[0, -1].argmax().item()]
            window += tokens[-1:]
        assert sequence.tokens == tokens


def test_a_prompt_longer_than_the_context(model):
    long = [index % 250 for index in range(50)]
    for overflow in ("stop", "refuse"):
        with pytest.raises(ValueError, match="the prompt has 50 tokens, the context holds 32"):
            run(model, [long], overflow=overflow)
    [cropped] = run(model, [long], max_new_tokens=5, overflow="crop", **GREEDY)
    assert cropped.tokens == without_cache(model, long, 5)
    [sliding] = run(model, [long], max_new_tokens=5, overflow="slide", **GREEDY)
    assert sliding.tokens[50:] == without_cache(model, long[-16:], 5)[16:]


def test_the_end_of_the_context_ends_the_text(model):
    sequences = run(model, PROMPTS, max_new_tokens=100, **GREEDY)
    assert [sequence.finish_reason for sequence in sequences] == ["context"] * 3
    assert [len(sequence.tokens) for sequence in sequences] == [33, 33, 33]  # the last is written, but not read
    with pytest.raises(ValueError, match="ask for at most 27 new tokens"):
        run(model, PROMPTS, max_new_tokens=100, overflow="refuse")


@pytest.mark.parametrize("how", ["eot", "stop_ids"])
def test_a_stop_id_ends_a_sequence_alone(model, how):
    plain = tokens(run(model, PROMPTS, max_new_tokens=15, temperature=0.0))
    stop = plain[0][9]
    end = {"eot": stop} if how == "eot" else {"stop_ids": (stop,)}
    sequences = run(model, PROMPTS, max_new_tokens=15, temperature=0.0, **end)
    for prompt, whole, sequence in zip(PROMPTS, plain, sequences, strict=True):
        new = whole[len(prompt) :]
        assert sequence.tokens[len(prompt) :] == (new[: new.index(stop) + 1] if stop in new else new)
    assert sequences[0].finish_reason == "stop"


def test_end_of_text_can_be_ignored(model):
    plain = tokens(run(model, PROMPTS, max_new_tokens=15, temperature=0.0))
    assert tokens(run(model, PROMPTS, eot=plain[0][9], max_new_tokens=15, **GREEDY)) == plain


def test_logprobs_are_the_models_own(model):
    engine, params = Engine(model), SamplingParams(max_new_tokens=6, temperature=1.5, top_k=3, num_top=4)
    for prompt in PROMPTS:
        engine.add(prompt, params, seed=1)
    while not engine.is_idle:
        for sequence, token in engine.step():
            here = model(torch.tensor([sequence.tokens[:-1]]))[0, -1].log_softmax(-1)
            assert sequence.tokens[-1] == token.id
            assert token.logprob == pytest.approx(here[token.id].item(), abs=1e-4)
            assert list(token.top) == here.topk(4).indices.tolist()


def test_one_comes_while_another_runs_and_another_goes(model):
    expected = tokens(run(model, PROMPTS, max_new_tokens=10, **GREEDY))
    engine, params = Engine(model, num_rows=2), SamplingParams(max_new_tokens=10, **GREEDY)
    first = engine.add(PROMPTS[0], params, 1)
    engine.step()
    second = engine.add(PROMPTS[1], params, 1)
    engine.step()
    engine.finish(first)
    third = engine.add(PROMPTS[2], params, 1)
    while not engine.is_idle:
        engine.step()
    assert (first.finish_reason, first.tokens) == ("cancelled", expected[0][: len(PROMPTS[0]) + 2])
    assert tokens([second, third]) == expected[1:]


def test_a_cancelled_sequence_leaves_at_once(model):
    engine = Engine(model, num_rows=1)
    running, waiting = (engine.add(PROMPTS[0], SamplingParams(), 1) for _ in range(2))
    engine.step()
    engine.finish(waiting)
    engine.finish(running)
    engine.finish(running, "stop")  # a finished one stays as it is
    assert engine.is_idle
    assert [running.finish_reason, waiting.finish_reason] == ["cancelled"] * 2


def test_what_was_read_is_not_read_again(model):
    read = []
    hidden = model.hidden
    model.hidden = lambda tokens, cache: read.append(tokens.numel()) or hidden(tokens, cache)
    engine, params = Engine(model, num_rows=2), SamplingParams(max_new_tokens=1, **GREEDY)
    for prompt in (PROMPTS[2], [*PROMPTS[2], 99, 98], [*PROMPTS[2][:5], 3]):
        engine.add(prompt, params, 1)
        engine.step()
    assert read == [12, 2, 1]


def test_a_step_that_fails_changes_nothing(model):
    expected = tokens(run(model, PROMPTS, max_new_tokens=12, **GREEDY))
    hidden, passes = model.hidden, count()

    def failing(*arguments):
        if next(passes) % 3 == 1:
            raise MemoryError
        return hidden(*arguments)

    model.hidden = failing
    engine = Engine(model, num_rows=2)
    sequences = [engine.add(prompt, SamplingParams(max_new_tokens=12, **GREEDY), 1) for prompt in PROMPTS]
    while not engine.is_idle:
        with suppress(MemoryError):
            engine.step()
    assert tokens(sequences) == expected


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


def test_limits(model):
    with pytest.raises(ValueError, match="may need 25 places, the engine's rows have 20"):
        run(model, [[1] * 5], limits={"capacity": 20}, max_new_tokens=20)
    engine = Engine(model, num_rows=1, max_waiting=1)
    engine.add([1], SamplingParams(), 1)
    with pytest.raises(QueueFull, match="1 requests wait already"):
        engine.add([1], SamplingParams(), 1)
    engine.step()
    engine.add([1], SamplingParams(), 1)  # the first has a row now


def test_memory_decides_how_many_rows_there_are(model):
    row = 2 * 3 * 48 * 4 * 32  # keys and values, layers, width, bytes, tokens
    assert rows_within(model, 5 * row + 1) == 5
    assert rows_within(model, 5 * row, capacity=16) == 10
    with pytest.raises(ValueError, match=f"one cache row takes {row:,} bytes"):
        rows_within(model, row - 1)


def test_no_new_tokens_is_a_finished_sequence(model):
    engine = Engine(model)
    sequence = engine.add([1], SamplingParams(max_new_tokens=0), 1)
    assert engine.is_idle and sequence.finish_reason == "length"
