"""The run files that come with the project are valid, and build the models they name."""

from __future__ import annotations

import tomllib
from pathlib import Path

import pytest

from glassgpt.training.config import RunConfig

ROOT = Path(__file__).parents[2]
FILES = [*sorted((ROOT / "configs").glob("*.toml")), ROOT / "src/glassgpt/cli/demo.toml"]


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_a_run_file_is_valid(path):
    config = RunConfig.model_validate(tomllib.loads(path.read_text(encoding="utf-8")))
    assert config.name == path.stem
    assert config.model.build_config(config.data.vocab_size or 50257).num_parameters > 0


def test_the_tiny_file_says_what_the_defaults_are():
    values = tomllib.loads((ROOT / "configs/cpu-tiny.toml").read_text(encoding="utf-8"))
    assert RunConfig.model_validate(values).model == RunConfig().model
    assert (values["steps"], values["batch_size"]) == (RunConfig().steps, RunConfig().batch_size)


def test_the_documentation_names_every_setting():
    from glassgpt.cli.settings import fields

    page = (ROOT / "docs/training.md").read_text(encoding="utf-8")
    missing = [path for path in fields(RunConfig) if f"`{path.split('.')[-1]}`" not in page]
    assert missing == []
