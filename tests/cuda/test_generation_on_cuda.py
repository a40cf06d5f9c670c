"""What only a GPU can show of generation: recorded graphs and compiled kernels say what the plain engine says."""

import pytest
import torch

from glassgpt.generation.ahead import AheadEngine, engine_for
from glassgpt.generation.engine import Engine
from glassgpt.generation.sampling import SamplingParams
from glassgpt.kernels.readers import FusedReader, LiveReader
from glassgpt.model.config import ModelConfig
from glassgpt.model.gpt import GPT, initialize

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no CUDA device")

GREEDY = SamplingParams(temperature=0.0, max_new_tokens=40, stop_at_eot=False)
SAMPLED = SamplingParams(temperature=1.0, top_k=50, max_new_tokens=40, stop_at_eot=False)
PROMPTS = [[1, 2, 3], [7], list(range(40, 60)), [9, 9], [200, 5]]


@pytest.fixture(scope="module")
def cuda_model() -> GPT:
    """Float32, with heads of GPT-2's size and choices that differ clearly."""
    config = ModelConfig(vocab_size=257, context_length=128, emb_dim=192, num_heads=3, num_layers=3)
    model = initialize(GPT(config), seed=1).eval()
    for name, parameter in model.named_parameters():
        if "norm" not in name:
            parameter.data.mul_(5.0)
    return model.cuda()


def run(engine: Engine, prompts: list[list[int]], params: SamplingParams) -> list[list[int]]:
    sequences = [engine.add(prompt, params, seed=5) for prompt in prompts]
    while not engine.is_idle:
        engine.step()
    return [sequence.tokens for sequence in sequences]


@pytest.mark.parametrize("params", [GREEDY, SAMPLED], ids=["greedy", "sampled"])
@pytest.mark.parametrize("prompts", [PROMPTS[:1], PROMPTS[:3], PROMPTS], ids=["1 row", "3 rows", "5 rows"])
@pytest.mark.parametrize("reader", [None, LiveReader, FusedReader], ids=["plain", "live", "fused"])
def test_graphs_say_what_the_plain_engine_says(cuda_model, reader, prompts, params):
    expected = run(Engine(cuda_model), prompts, params)
    engine = AheadEngine(cuda_model, num_steps=8, reader=reader and reader(cuda_model))
    assert run(engine, prompts, params) == expected


def test_a_plain_model_on_a_gpu_runs_ahead(cuda_model):
    assert type(engine_for(cuda_model)) is AheadEngine
