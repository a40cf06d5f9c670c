"""A tiny corpus and runs over it: 2 layers, 32 wide, 300 tokens, milliseconds a step."""

from __future__ import annotations

from importlib.resources import files
from pathlib import Path
from typing import Any

import pytest

from glassgpt.data.shards import write
from glassgpt.tokenizer.tokenizer import Tokenizer
from glassgpt.tokenizer.training import train as train_tokenizer
from glassgpt.training.config import RunConfig
from glassgpt.training.run import Run

TINY: dict[str, Any] = {
    "steps": 12,
    "batch_size": 4,
    "model": {"context_length": 16, "emb_dim": 32, "num_heads": 2, "num_layers": 2, "dropout": 0.1},
    "evaluation": {"every": 4, "windows": 8},
    "checkpoint": {"every": 4},
}


@pytest.fixture(scope="session")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> tuple[Tokenizer, Path]:
    """A tokenizer and a directory of shards of the first pages of Romeo and Juliet."""
    text = files("glassgpt.data").joinpath("shakespeare.txt").read_text(encoding="utf-8")[:30_000]
    tokenizer = train_tokenizer([text], 300)
    ids, directory = tokenizer.encode(text), tmp_path_factory.mktemp("shards")
    splits = {"train": [ids[:-3000]], "val": [ids[-3000:]]}
    write(directory, splits, tokenizer.vocab_size, tokenizer.eot, tokenizer.sha256)
    return tokenizer, directory


@pytest.fixture
def make_run(corpus):
    """``make_run(steps=20, optimizer={"name": "muon"})``: a run of the tiny configuration with changes."""

    def make(**changes: Any) -> Run:
        values = {
            name: {**TINY.get(name, {}), **value} if isinstance(value, dict) else value
            for name, value in {**TINY, **changes}.items()
        }
        return Run(RunConfig.model_validate(values), *corpus)

    return make
