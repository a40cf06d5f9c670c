"""What only a GPU can show of training: the compiled path learns what the plain one on the CPU learns."""

import json

import numpy as np
import pytest
import torch

from glassgpt.data.shards import write
from glassgpt.training.config import ModelShape, RunConfig
from glassgpt.training.loop import train
from glassgpt.training.run import Run

pytestmark = [
    pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no CUDA device"),
    pytest.mark.filterwarnings("ignore:TensorFloat32 tensor cores"),  # float32 is meant as it is said
]


def build(directory, tokenizer, **settings) -> Run:
    ids = np.random.default_rng(0).integers(0, 256, 4000).tolist()
    write(directory, {"train": [ids], "val": [ids]}, tokenizer.vocab_size, tokenizer.eot, tokenizer.sha256)
    shape = ModelShape(context_length=64, emb_dim=128, num_heads=2, num_layers=2)
    return Run(RunConfig(steps=6, batch_size=8, micro_batch=4, model=shape, **settings), tokenizer, directory)


def losses(run: Run, directory) -> list[float]:
    assert train(run, directory) == 0
    lines = map(json.loads, (directory / "metrics.jsonl").read_text().splitlines())
    return [line["loss"] for line in lines if "loss" in line]


@pytest.mark.parametrize("optimizer", ["adamw", "muon"])
@pytest.mark.parametrize(
    ("settings", "tolerance"),
    [
        ({"precision": "float32"}, 5e-3),
        ({"precision": "bfloat16"}, 2e-2),
        ({"precision": "bfloat16", "compile": True}, 2e-2),
    ],
    ids=["float32", "bfloat16", "compiled"],
)
def test_the_losses_are_those_of_the_cpu(settings, tolerance, optimizer, bytes_tokenizer, tmp_path):
    named = {"optimizer": {"name": optimizer}}
    plain = build(tmp_path / "cpu", bytes_tokenizer, device="cpu", **named)
    fast = build(tmp_path / "cuda", bytes_tokenizer, device="cuda", **settings, **named)
    fast.model.load_state_dict(plain.model.state_dict())  # a GPU draws other first weights
    fast.working.refresh()
    assert losses(fast, tmp_path / "cuda") == pytest.approx(losses(plain, tmp_path / "cpu"), abs=tolerance)
