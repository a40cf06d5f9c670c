"""A run's configuration: one TOML file, small, checked when it is built."""

from __future__ import annotations

import os
import tomllib

import pytest
from pydantic import BaseModel, ValidationError

from glassgpt.parallel.config import ParallelConfig
from glassgpt.training.config import ModelShape, RunConfig, SamplesConfig, ScheduleConfig


def test_the_toml_of_a_configuration_builds_it_again():
    config = RunConfig.model_validate({"name": "a", "data": {"sources": ["b.txt"]}, "model": {"size": "gpt2"}})
    assert RunConfig.model_validate(tomllib.loads(config.toml())) == config


def test_an_unknown_key_is_an_error():
    with pytest.raises(ValidationError, match=r"optimizer.lrr"):
        RunConfig.model_validate({"optimizer": {"lrr": 1e-3}})


def test_a_configuration_cannot_be_changed():
    with pytest.raises(ValidationError, match="frozen"):
        RunConfig().steps = 5  # pyrefly: ignore[read-only]


def test_a_batch_is_a_whole_number_of_micro_batches():
    assert RunConfig(batch_size=12, micro_batch=4).rows == 4
    assert RunConfig(batch_size=12).rows == 12
    with pytest.raises(ValidationError, match="batch_size 12 is not a multiple of micro_batch 5"):
        RunConfig(batch_size=12, micro_batch=5)


def test_samples_are_written_with_whole_weights():
    samples = SamplesConfig(every=100)
    assert RunConfig(samples=samples).samples.prompts == ("",)
    with pytest.raises(ValidationError, match=r"samples\.every needs whole weights: choose parallel\.data ddp"):
        RunConfig(samples=samples, parallel=ParallelConfig(data="fsdp"))


def test_a_run_name_is_a_plain_directory_name():
    with pytest.raises(ValidationError):
        RunConfig(name="../elsewhere")


def test_a_source_has_a_name_that_a_file_can_hold():
    with pytest.raises(ValidationError, match=r"the name 'a\\udcff.txt' is not UTF-8: rename the file"):
        RunConfig.model_validate({"data": {"sources": [os.fsdecode(b"a\xff.txt")]}})


def test_a_published_size_keeps_its_values_unless_they_are_replaced():
    config = ModelShape(size="gpt2-medium", dropout=0.1).build_config(vocab_size=1000)
    assert (config.num_layers, config.emb_dim, config.context_length) == (24, 1024, 1024)
    assert (config.dropout, config.vocab_size) == (0.1, 1000)


def test_an_impossible_model_is_refused():
    with pytest.raises(ValidationError, match="emb_dim 64 is not divisible by num_heads 5"):
        ModelShape(emb_dim=64, num_heads=5)
    with pytest.raises(ValidationError, match="no published size is called 'gpt5'"):
        ModelShape(size="gpt5")


def test_the_vocabulary_comes_from_the_tokenizer():
    assert ModelShape(emb_dim=64).build_config(vocab_size=777).vocab_size == 777


def test_the_configuration_stays_small():
    def count(model: type[BaseModel]) -> int:
        kinds = [field.annotation for field in model.model_fields.values()]
        return sum(count(k) if isinstance(k, type) and issubclass(k, BaseModel) else 1 for k in kinds)

    assert count(RunConfig) < 60


def test_a_rate_cannot_rise_and_fall_at_once():
    with pytest.raises(ValidationError, match=r"warmup 0\.5 and schedule\.cooldown 0\.6 exceed 1 together: lower one"):
        RunConfig(schedule=ScheduleConfig(name="wsd", warmup=0.5, cooldown=0.6))
    RunConfig(schedule=ScheduleConfig(name="cosine", warmup=0.7))
