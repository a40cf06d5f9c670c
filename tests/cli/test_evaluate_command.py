"""``glassgpt evaluate`` on a tiny model: the figures of the model itself, whatever file the text comes from."""

import json
import math
from typing import get_args

import pytest
import torch

from glassgpt.cli.main import main
from glassgpt.cli.options import Precision
from glassgpt.generation.text import LanguageModel
from glassgpt.quantization.precision import PRECISIONS

TEXT = "Once upon a time there was a model that had read very little, and said so. " * 3


@pytest.fixture
def gpt(model, bytes_tokenizer, tmp_path, monkeypatch) -> LanguageModel:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "held-out.txt").write_text(TEXT)
    LanguageModel(model, bytes_tokenizer).save("model")
    return LanguageModel(model, bytes_tokenizer)


def evaluated(capsys, *arguments: str) -> dict:
    assert main(["evaluate", "model", "--text", "held-out.txt", "--json", *arguments]) == 0
    return json.loads(capsys.readouterr().out)


def test_the_figures_are_the_models(gpt, capsys):
    found = evaluated(capsys, "--stride", "8")
    expected = -sum(gpt.logprobs([TEXT], stride=8)[0])
    assert found["nats"] == pytest.approx(expected, rel=1e-5)
    assert found["loss"] == pytest.approx(expected / len(TEXT), rel=1e-5)
    assert found["perplexity"] == pytest.approx(math.exp(found["loss"]))
    assert found["bits_per_byte"] == pytest.approx(found["loss"] / math.log(2))  # a token is a byte here
    assert (found["num_tokens"], found["num_bytes"], found["stride"]) == (len(TEXT), len(TEXT), 8)
    assert (found["precision"], found["text"]) == ("float32", ["held-out.txt"])
    assert gpt.perplexity(TEXT, stride=8) == pytest.approx(found["perplexity"], rel=1e-5)


def test_it_is_printed_with_the_stride_and_the_precision(gpt, capsys):
    assert main(["evaluate", "model", "--text", "held-out.txt"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[3] == "over            225 tokens, 225 bytes, documents: 1"
    assert lines[4:] == ["context         32 tokens, stride 16", "matrices in     float32"]


def test_every_document_of_every_file_counts(gpt, tmp_path, capsys):
    (tmp_path / "more.jsonl").write_text('{"text": "one"}\n{"text": "two"}\n')
    found = evaluated(capsys, "--text", "more.jsonl")
    assert found["num_bytes"] == len(TEXT) + 6


@pytest.mark.parametrize("precision", PRECISIONS)
@torch.inference_mode()
def test_a_precision_costs_little_and_is_named(gpt, capsys, precision):
    found = evaluated(capsys, "--precision", precision)
    assert found["precision"] == precision
    cost = found["loss"] - gpt.score(TEXT).loss
    assert abs(cost) < {"float32": 1e-5, "bfloat16": 0.01, "int8": 0.01, "int4": 0.2}[precision]


def test_the_command_line_knows_every_precision():
    assert get_args(Precision) == PRECISIONS


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["--text", "absent.txt"], 1, "absent.txt: no such file or directory"),
        (["--text", "held-out.txt", "--stride", "33"], 1, "the stride is 33, expected 1 to the context of 32 tokens"),
        (["--text", "held-out.txt", "--device", "tpu"], 1, "device 'tpu' is not available here: choose cpu"),
        ([], 2, "--text"),
    ],
)
def test_what_cannot_be_measured_is_said_in_one_line(gpt, capsys, arguments, code, message):
    assert main(["evaluate", "model", *arguments]) == code
    error = capsys.readouterr().err
    assert message in error
    assert error.count("\n") == 1
