"""``glassgpt convert`` and ``glassgpt compare`` as a user runs them."""

import json
from pathlib import Path

import pytest
import torch

from glassgpt.cli.main import main
from glassgpt.model.config import ModelConfig
from glassgpt.model.gpt import GPT
from glassgpt.weights.directory import load_model, save_model
from glassgpt.weights.formats import FORMATS, open_model

pytest.importorskip("gguf", reason="needs the export extra")


@pytest.fixture
def source(bytes_tokenizer, tmp_path, monkeypatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "100")
    model = GPT(ModelConfig(vocab_size=257, context_length=64, emb_dim=64, num_heads=4, num_layers=2))
    torch.manual_seed(1)
    for name, parameter in model.named_parameters():
        torch.nn.init.normal_(parameter, float("norm.weight" in name), 0.1)
    save_model(model, bytes_tokenizer, tmp_path / "model")
    return tmp_path / "model"


def test_a_conversion_shows_and_keeps_its_certificate(source, capsys):
    assert main(["convert", "model", "model.gguf", "--to", "gguf", "--dtype", "q8_0"]) == 0
    out = capsys.readouterr().out
    assert "h.*.attn.c_attn.weight  blk.*.attn_qkv.weight     192×64 ᵀ  Q8_0" in out
    assert "28 tensors, 8 transposed" in out
    assert "certificate: model.gguf.certificate.json" in out
    assert json.loads(Path("model.gguf.certificate.json").read_text())["destination"]["format"] == "gguf"
    assert open_model("model.gguf").facts["dtypes"]["token_embedding.weight"] == "Q8_0"


def test_json_is_the_certificate(source, capsys):
    assert main(["convert", "model", "model.bin", "--to", "llmc", "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == json.loads(Path("model.bin.certificate.json").read_text())


def test_a_source_without_a_tokenizer_is_given_one(source, capsys):
    assert main(["convert", "model", "ckpt.pt", "--to", "nanogpt"]) == 0
    out = capsys.readouterr().out
    assert (
        "\nnote: nanoGPT computes the exact GELU, this model its tanh approximation: logits agree to about three" in out
    )
    assert main(["convert", "ckpt.pt", "back", "--to", "gguf"]) == 1
    assert "name it (--tokenizer gpt2)" in capsys.readouterr().err
    assert main(["convert", "ckpt.pt", "back", "--to", "hf", "--tokenizer", "model"]) == 0
    before, after = load_model(source).state_dict(), load_model(Path("back")).state_dict()
    assert all(torch.equal(tensor, after[name]) for name, tensor in before.items())


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["model", "model", "--to", "hf"], 1, "model exists: remove it or choose another name"),
        (["model", "x", "--to", "gguff"], 2, 'Invalid value "gguff" for --to.'),
        (["model", "x", "--to", "hf", "--dtype", "q4_0"], 1, "hf is not written as 'q4_0': choose one of"),
        (["nothing", "x", "--to", "hf"], 1, "no model 'nothing'"),
    ],
)
def test_what_cannot_be_converted_is_said_in_one_line(source, capsys, arguments, code, message):
    assert main(["convert", *arguments]) == code
    error = capsys.readouterr().err
    assert message in error
    assert error.count("\n") == 1


def test_every_format_that_is_written_can_be_named():
    from typing import get_args

    from glassgpt.cli.convert import Format

    assert set(get_args(Format)) == set(FORMATS)


def test_compare_says_where_and_why(source, capsys):
    assert main(["convert", "model", "model.gguf", "--to", "gguf", "--dtype", "bfloat16", "--json"]) == 0
    capsys.readouterr()
    assert main(["compare", "model", "model"]) == 0
    assert capsys.readouterr().out.endswith("the same\n")
    assert main(["compare", "model", "model.gguf"]) == 1
    assert capsys.readouterr().out.splitlines()[-2:] == [
        "they part at token_embedding",
        "b has weights rounded to bfloat16",
    ]
    assert main(["compare", "model", "model.gguf", "--json"]) == 1
    found = json.loads(capsys.readouterr().out)
    assert (found["same"], found["first"]) == (False, "token_embedding")
    assert found["findings"] == [{"cause": "dtype", "explanation": "has weights rounded to bfloat16", "then": None}]
    assert found["b"]["dtypes"] == ["BF16", "F32"]


def test_an_epsilon_in_a_configuration_is_found(source, capsys):
    settings = json.loads((source / "config.json").read_text()) | {"layer_norm_epsilon": 1e-6}
    other = source.rename(source.with_name("other"))
    (other / "config.json").write_text(json.dumps(settings))
    save_model(load_model(other), open_model(other).tokenizer, source)
    settings["layer_norm_epsilon"] = 1e-5
    (source / "config.json").write_text(json.dumps(settings))
    assert main(["compare", "model", "other"]) == 1
    out = capsys.readouterr().out
    assert "norm_eps: 1e-05 in a, 1e-06 in b" in out
    assert "b normalises with epsilon 1e-06, not 1e-05" in out
