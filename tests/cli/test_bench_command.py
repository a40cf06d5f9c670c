"""``glassgpt bench generate`` as a user runs it, on a tiny model."""

import json
import os
import subprocess
import sys

import pytest

from glassgpt.generation.text import LanguageModel


@pytest.fixture
def directory(model, bytes_tokenizer, tmp_path):
    LanguageModel(model, bytes_tokenizer).save(tmp_path / "model")
    return tmp_path / "model"


def bench(*arguments) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "glassgpt", "bench", *map(str, arguments)]
    environment = {**os.environ, "NO_COLOR": "1", "OMP_NUM_THREADS": "1", "COLUMNS": "160"}
    return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=120)


def test_json_has_every_round_and_the_machine(directory):
    result = bench("generate", directory, "--batch", "1,3", "--rounds", 2, "--precision", "int8", "--json")
    assert result.returncode == 0
    answer = json.loads(result.stdout)
    assert (answer["precision"], answer["prompt_tokens"], answer["new_tokens"]) == ("int8", 16, 8)
    assert {"processor", "threads", "torch", "glassgpt"} <= answer["machine"].keys()
    assert [row["batch"] for row in answer["batches"]] == [1, 3]
    for row in answer["batches"]:
        low, high = row["decode"]["range"]
        assert len(row["decode"]["rounds"]) == 2
        assert 0 < low <= row["decode"]["median"] <= high
        assert row["share_of_read_limit"] == row["weight_bytes_per_second"] / answer["read_bytes_per_second"]


def test_the_table_says_what_was_measured_where(directory, tiny):
    result = bench("generate", directory, "--rounds", 1, "--prompt-tokens", 4, "--new-tokens", 3)
    assert result.returncode == 0
    assert f"stored weights, float32: {tiny.num_parameters:,} parameters" in result.stdout
    assert "4 prompt and 3 new tokens; median (range)" in result.stdout
    assert "decode" in result.stdout
    assert "peak memory" in result.stdout


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["sing"], 2, "generate"),
        (["generate", "{}", "--batch", "1;2"], 2, "--batch is '1;2', expected numbers from 1 on such as 1,16"),
        (["generate", "{}", "--prompt-tokens", "40"], 1, "prompt and new tokens are 48, the context holds 32"),
        (["generate", "gpt2-huge", "--random-weights"], 1, "no published size is called 'gpt2-huge'"),
    ],
)
def test_what_cannot_be_measured_is_one_line(directory, arguments, code, message):
    result = bench(*(argument.format(directory) for argument in arguments))
    assert (result.returncode, result.stdout) == (code, "")
    assert message in result.stderr
    assert len(result.stderr.strip().splitlines()) == 1
