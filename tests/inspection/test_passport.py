"""A passport tells what a model is without reading its weights."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from glassgpt.cli.main import main
from glassgpt.inspection.passport import origin, passport, size_name
from glassgpt.model.config import SIZES, ModelConfig
from glassgpt.training.torture.savers import COMMITTING
from glassgpt.weights.conversion import convert
from glassgpt.weights.directory import save_model


@pytest.fixture
def source(model, bytes_tokenizer, tmp_path) -> Path:
    save_model(model, bytes_tokenizer, tmp_path / "model")
    return tmp_path / "model"


def test_a_hugging_face_directory(source, tiny, bytes_tokenizer):
    found = passport(source)
    assert (found["format"], found["parameters"], found["size"]) == ("hf", tiny.num_parameters, None)
    assert ModelConfig.model_validate(found["config"]) == tiny
    assert found["dtypes"] == {"float32": 40}
    assert found["vocabulary"] == {"tokens": 257, "sha256": bytes_tokenizer.sha256}
    assert (found["origin"], "generate" in found["commands"]) == (None, True)


@pytest.mark.parametrize(
    ("form", "name"),
    [("gguf", "x.gguf"), ("openai", "117M"), ("book", "x.pth"), ("nanogpt", "ckpt.pt"), ("llmc", "x.bin")],
)
def test_every_format_and_where_it_was_converted_from(source, tiny, tmp_path, form, name):
    if form == "gguf":
        pytest.importorskip("gguf", reason="needs the export extra")
    convert(source, tmp_path / name, form)
    found = passport(tmp_path / name)
    assert (found["format"], found["parameters"]) == (form, tiny.num_parameters)
    assert found["origin"]["kind"] == "conversion"
    assert found["origin"]["path"] == str(source)


def test_the_published_sizes_are_known_by_their_shape():
    assert {size_name(ModelConfig.named(name)) for name in SIZES} == set(SIZES)
    assert size_name(ModelConfig(emb_dim=48, num_heads=3)) is None


def test_a_checkpoint_tells_of_its_training(tmp_path):
    found = origin(COMMITTING.prepare(tmp_path / "run" / "checkpoints") / "step-00000002")
    assert found is not None
    assert (found["kind"], found["step"]) == ("training", 2)


def test_no_weights_and_no_torch_are_needed(source):
    """Behind its header the file of weights is a hole."""
    weights = source / "model.safetensors"
    header, size = 8 + int.from_bytes(weights.read_bytes()[:8], "little"), weights.stat().st_size
    weights.write_bytes(weights.read_bytes()[:header])
    os.truncate(weights, size)
    script = f"""
import sys
from glassgpt.cli.main import main
code = main(["info", {str(source)!r}, "--json"])
assert "torch" not in sys.modules
sys.exit(code)
"""
    ran = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert ran.returncode == 0, ran.stderr
    assert json.loads(ran.stdout)["dtypes"] == {"float32": 40}


def test_info_prints_a_line_for_each_thing(source, capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "120")
    assert main(["info", str(source)]) == 0
    out = capsys.readouterr().out
    assert "3 layers, 48 wide, 3 heads, 32 tokens of context" in out
    assert "opens with  glassgpt generate, glassgpt evaluate, glassgpt convert, glassgpt compare, glassgpt info" in out
    assert main(["info", str(source / "config.json")]) == 1
    assert "which no format here is" in capsys.readouterr().err


def test_a_larger_dtype_mix_is_counted(source, tmp_path):
    pytest.importorskip("gguf", reason="needs the export extra")
    convert(source, tmp_path / "x.gguf", "gguf", "float16")
    assert passport(tmp_path / "x.gguf")["dtypes"] == {"F16": 13, "F32": 27}
