"""Several steps at once against single ones, on the CPU without a graph; tests/cuda does the same with graphs."""

import pytest
import torch

from glassgpt.generation.ahead import AheadEngine, engine_for, is_plain
from glassgpt.generation.engine import Engine
from glassgpt.generation.sampling import SamplingParams
from glassgpt.generation.steps import PlainReader, Steps, bucket
from glassgpt.generation.text import LanguageModel
from glassgpt.model.cache import Cache
from glassgpt.model.gpt import use_attention

PROMPTS = [[1, 2, 3], [7], list(range(40, 60)), [9, 9]]
GREEDY = SamplingParams(temperature=0.0, max_new_tokens=10, stop_at_eot=False)


def run(engine: Engine, *params: SamplingParams, late: int = 0) -> tuple[list[list[int]], list[str], list[float]]:
    """Tokens, finish reasons and log-probabilities; the last ``late`` prompts come after a few steps."""
    sequences, logprobs, last = [], {}, len(PROMPTS) - late
    for n, prompt in enumerate(PROMPTS):
        sequences.append(engine.add(prompt, params[n % len(params)], seed=5))
        for _ in range(3 if n >= last else 0):
            logprobs |= {(e.sequence.id, len(e.sequence.tokens)): e.token.logprob for e in engine.step()}
    while not engine.is_idle:
        logprobs |= {(e.sequence.id, len(e.sequence.tokens)): e.token.logprob for e in engine.step()}
    return [s.tokens for s in sequences], [s.finish_reason for s in sequences], [logprobs[k] for k in sorted(logprobs)]


@pytest.mark.parametrize("num_steps", [1, 4, 16])
@pytest.mark.parametrize(
    "params",
    [
        [GREEDY],
        [SamplingParams(max_new_tokens=20, temperature=1.0, top_k=20)],
        [SamplingParams(max_new_tokens=40, temperature=1.0, overflow="stop"), GREEDY],
        [SamplingParams(max_new_tokens=40, temperature=0.0, overflow="slide")],
        [SamplingParams(max_new_tokens=8, repetition_penalty=1.2), GREEDY],
        [SamplingParams(max_new_tokens=8, num_top=3)],
    ],
    ids=["greedy", "sampled", "to the end of the context", "sliding", "penalty", "top"],
)
def test_tokens_are_those_of_the_plain_engine(model, num_steps, params):
    settings = {"num_rows": 3, "eot": 33}  # 33 comes in some rows in the middle of a launch, and one has to wait
    expected = run(Engine(model, **settings), *params, late=2)
    result = run(AheadEngine(model, num_steps=num_steps, **settings), *params, late=2)
    assert result[:2] == expected[:2]
    assert result[2] == pytest.approx(expected[2], abs=1e-4)


def test_a_cancelled_sequence_leaves_the_others_alone(model):
    engine = AheadEngine(model, num_steps=8)
    first, second = (engine.add(prompt, GREEDY, seed=1) for prompt in PROMPTS[:2])
    for _ in range(3):
        engine.step()
    engine.finish(first)
    while not engine.is_idle:
        engine.step()
    assert first.finish_reason == "cancelled" and len(first.tokens) == 3 + 3
    alone = Engine(model)
    expected = alone.add(PROMPTS[1], GREEDY, seed=1)
    while not alone.is_idle:
        alone.step()
    assert second.tokens == expected.tokens


@torch.inference_mode()
def test_a_batch_below_its_bucket_and_rows_in_any_order(model):
    cache = Cache(model.config, 4)
    steps = Steps(PlainReader(model), cache, GREEDY, 5)
    prompts = {3: [5, 6], 0: [8, 1, 2], 2: [4]}
    for row, prompt in prompts.items():
        cache.select([row])
        model.hidden(torch.tensor([prompt]), cache)
    together, _ = steps([3, 0, 2], [2, 3, 1], [11, 12, 13], [])
    for b, (row, prompt) in enumerate(prompts.items()):
        alone, logprobs = steps([row], [len(prompt)], [11 + b], [])
        assert [step[b] for step in together] == [step[0] for step in alone]
        tokens = [*prompt, 11 + b]
        for [id], [logprob] in zip(alone, logprobs, strict=True):
            expected = model(torch.tensor([tokens]))[0, -1].log_softmax(-1)
            assert id == expected.argmax() and logprob == pytest.approx(expected[id].item(), abs=1e-4)
            tokens.append(id)


def test_a_penalty_is_refused(model):
    with pytest.raises(ValueError, match="repetition_penalty"):
        Steps(PlainReader(model), Cache(model.config, 1), SamplingParams(repetition_penalty=1.1), 4)


def test_recording_may_run_the_step(model):
    """As a CUDA graph's warm-up does, which moves everything on."""

    def record(step):
        step()
        step()
        return step

    assert run(AheadEngine(model, num_steps=4, capture=record), GREEDY) == run(AheadEngine(model, num_steps=4), GREEDY)


def test_the_next_launch_is_under_way_while_one_is_handed_out_and_none_is_wasted(model):
    launches = []

    def count(step):
        return lambda: (launches.append(1), step())

    engine = AheadEngine(model, num_steps=3, capture=count)
    engine.add(PROMPTS[0], GREEDY, seed=5)  # one token comes with the prompt, nine more in three launches
    counts = []
    while not engine.is_idle:
        engine.step()
        counts.append(len(launches))
    assert counts == [0, 2, 2, 2, 3, 3, 3, 3, 3, 3]


def test_buckets():
    assert [bucket(B) for B in (1, 2, 3, 5, 64, 65, 128, 129)] == [1, 2, 4, 8, 64, 128, 128, 192]


def test_a_model_on_the_cpu_gets_the_plain_engine(model):
    assert type(engine_for(model, num_rows=2)) is Engine


def test_a_model_with_anything_replaced_is_not_plain(model):
    assert is_plain(model)
    handle = model.blocks[0].register_forward_hook(lambda *_: None)
    assert not is_plain(model)
    handle.remove()
    use_attention(model, lambda q, k, v, visible, dropout: v)
    assert not is_plain(model)


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_a_device_that_is_not_there_is_refused(model, bytes_tokenizer, tmp_path):
    LanguageModel(model, bytes_tokenizer).save(tmp_path / "model")
    with pytest.raises(ValueError, match="'cuda' is not available here"):
        LanguageModel.load(tmp_path / "model", device="cuda")
