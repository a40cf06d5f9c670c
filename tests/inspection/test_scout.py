"""A scout describes a model as its passport does, or is refused, or stopped, in a process of its own."""

import json
import resource
import subprocess
import sys
from pathlib import Path

import pytest

from glassgpt.inspection.passport import passport
from glassgpt.inspection.scout import scout
from glassgpt.weights.directory import save_model


@pytest.fixture
def model_path(model, bytes_tokenizer, tmp_path) -> Path:
    save_model(model, bytes_tokenizer, tmp_path / "model")
    return tmp_path / "model"


def test_a_scout_tells_what_the_passport_tells(model_path):
    assert scout(model_path) == json.loads(json.dumps(passport(model_path)))


def test_a_refusal_is_the_readers_own_and_shows_no_control_characters(model_path, tmp_path):
    with pytest.raises(ValueError, match="there is no file or directory"):
        scout(tmp_path / "nowhere")
    (model_path / "config.json").write_text(json.dumps({"model_type": "\x1b[31mllama"}))
    with pytest.raises(ValueError, match="has model_type") as refusal:
        scout(model_path)
    assert str(refusal.value).isprintable()


def test_nothing_is_imported_from_the_working_directory(model_path, tmp_path, monkeypatch):
    (tmp_path / "json.py").write_text("raise SystemExit('imported')")
    monkeypatch.chdir(tmp_path)
    assert scout(Path("model"))["format"] == "hf"


def test_a_confined_process_has_little_memory_and_writes_nothing(tmp_path):
    script = f"""
from glassgpt.inspection.scout import confine
confine()
try:
    bytearray(2**29)
except MemoryError:
    print("no memory")
try:
    open({str(tmp_path / "x")!r}, "wb", buffering=0).write(b"x")
except OSError as error:
    print(error.strerror)
"""
    ran = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    if sys.platform == "linux":
        assert ran.stdout == "no memory\nFile too large\n", ran.stderr
    assert resource.getrlimit(resource.RLIMIT_FSIZE)[0] == resource.RLIM_INFINITY
