"""``glassgpt quantize`` on a tiny model: a directory that loads again, its size, and what it costs."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

import glassgpt
from glassgpt.cli.main import main
from glassgpt.data.documents import SHAKESPEARE
from glassgpt.generation.text import LanguageModel
from glassgpt.weights.directory import load_model


@pytest.fixture
def source(model, bytes_tokenizer, tmp_path, monkeypatch) -> Path:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "held-out.txt").write_text("Once upon a time there was a model. " * 5)
    LanguageModel(model, bytes_tokenizer).save("model")
    return tmp_path / "model"


def quantized(capsys, *arguments: str) -> dict:
    assert main(["quantize", "model", "--out", "small", "--text", "held-out.txt", "--json", *arguments]) == 0
    return json.loads(capsys.readouterr().out)


@pytest.mark.parametrize(("storage", "share", "cost"), [("int8", 0.40, 0.01), ("int4", 0.30, 0.2)])
def test_it_loads_again_and_costs_what_was_said(source, capsys, storage, share, cost):
    found = quantized(capsys, "--to", storage)
    assert found["bytes"]["after"] < share * found["bytes"]["before"]  # much of a tiny model is norms and tokenizer
    small, text = glassgpt.load("small"), Path("held-out.txt").read_text()
    assert small.precision == storage
    assert small.score(text).loss == pytest.approx(found["after"]["loss"], rel=1e-5)
    assert glassgpt.load("model").score(text).loss == pytest.approx(found["before"]["loss"], rel=1e-5)
    assert abs(found["after"]["loss"] - found["before"]["loss"]) < cost
    assert small.generate("Once", seed=1, max_new_tokens=5) == glassgpt.load("model", precision=storage).generate(
        "Once", seed=1, max_new_tokens=5
    )


def test_without_a_text_it_measures_on_a_named_piece_of_the_bundled_one(source, capsys):
    assert main(["quantize", "model", "--to", "int8", "--out", "small"]) == 0
    out = capsys.readouterr().out
    assert "on the first 16,384 characters of the bundled Shakespeare: 16,384 tokens, 16,384 bytes, stride 16" in out
    assert [line.split()[0] for line in out.splitlines()[:5]] == ["before", "bytes", "bits", "loss", "perplexity"]
    assert SHAKESPEARE.read_text(encoding="utf-8")[:16_384].isascii()


def test_every_other_command_opens_it(source, capsys):
    quantized(capsys, "--to", "int8")
    assert main(["generate", "small", "Once", "--seed", "1", "--max-new-tokens", "3"]) == 0
    assert capsys.readouterr().err.splitlines()[-1] == "3 tokens, seed 1, int8"
    assert main(["evaluate", "small", "--text", "held-out.txt", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["precision"] == "int8"
    assert main(["info", "small"]) == 0
    assert "format        quantized" in capsys.readouterr().out
    assert main(["compare", "model", "small"]) == 1
    capsys.readouterr()
    assert main(["convert", "small", "plain", "--to", "hf", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["logits"]["largest_difference"] == 0
    assert load_model(Path("plain")).config == load_model(source).config


def test_any_format_can_be_quantized(source, capsys):
    assert main(["convert", "model", "model.bin", "--to", "llmc"]) == 0
    arguments = ["quantize", "model.bin", "--to", "int8", "--out", "small", "--text", "held-out.txt"]
    assert main(arguments) == 1
    assert "model.bin has no tokenizer: name one, as in --tokenizer gpt2" in capsys.readouterr().err
    assert main([*arguments, "--tokenizer", "model"]) == 0
    assert glassgpt.load("small").tokenizer.vocab_size == 257


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_other_precisions_are_those_of_the_dequantized_model(source, capsys, precision):
    quantized(capsys, "--to", "int4")
    assert main(["convert", "small", "plain", "--to", "hf"]) == 0
    scores = [glassgpt.load(name, precision=precision).score("Once upon a time").loss for name in ("small", "plain")]
    assert scores[0] == scores[1]


def test_a_killed_run_leaves_nothing(source):
    code = "import os, signal\nfrom glassgpt.weights import scheme\n"
    code += "scheme.Scheme.blank = lambda *_: os.kill(os.getpid(), signal.SIGKILL)\n"  # when what was written is opened
    code += "from glassgpt.cli.main import main\nmain(['quantize', 'model', '--to', 'int8', '--out', 'small'])"
    killed = subprocess.run([sys.executable, "-c", code], env={**os.environ, "OMP_NUM_THREADS": "1"})
    assert killed.returncode == -signal.SIGKILL
    assert not Path("small").exists()
    assert main(["quantize", "model", "--to", "int8", "--out", "small", "--text", "held-out.txt"]) == 0


def test_what_cannot_be_quantized_is_said_in_one_line(source, capsys):
    quantized(capsys, "--to", "int8")
    for arguments, message in [
        (["model", "--to", "int8", "--out", "small"], "small exists: remove it or choose another name"),
        (["small", "--to", "int4", "--out", "other"], "small is quantized already: give the original model"),
    ]:
        assert main(["quantize", *arguments]) == 1
        error = capsys.readouterr().err
        assert message in error
        assert error.count("\n") == 1
    assert main(["generate", "small", "Once", "--precision", "int4"]) == 1
    assert "small is stored as int8, int4 was asked for: quantize the original" in capsys.readouterr().err
    assert not Path("other").exists()
