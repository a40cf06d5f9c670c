"""Headers tell of every format what its reader finds, and no torch is needed for that."""

import subprocess
import sys

import pytest

from glassgpt.model.gpt import GPT, initialize
from glassgpt.weights.formats import FORMATS, open_model, write_model
from glassgpt.weights.headers import KINDS, read_header, recognize
from glassgpt.weights.opened import Opened

PATHS = {
    "hf": "hf",
    "quantized": "int8",
    "openai": "117M",
    "book": "x.pth",
    "nanogpt": "ckpt.pt",
    "llmc": "x.bin",
    "gguf": "x.gguf",
}


@pytest.fixture(scope="module")
def folder(tiny, bytes_tokenizer, tmp_path_factory):
    """A small model in every format but ONNX, whose export takes long and has tests of its own."""
    pytest.importorskip("gguf", reason="needs the export extra")
    folder = tmp_path_factory.mktemp("formats")
    model = initialize(GPT(tiny), seed=1)
    for name, path in PATHS.items():
        write_model(Opened.of(model, bytes_tokenizer), name, folder / path)
    return folder


def test_every_format_has_a_header_and_a_reader():
    assert set(KINDS) == set(FORMATS) == {*PATHS, "onnx"}


@pytest.mark.parametrize("name", PATHS)
def test_the_header_is_that_of_the_reader(folder, name):
    found, header = read_header(folder / PATHS[name])
    opened = open_model(folder / PATHS[name])
    assert (found, header.config) == (name, opened.config)
    assert (header.tokenizer is None) == (opened.tokenizer is None)
    assert sum(header.dtypes.values()) >= len(opened.tensors)


def test_no_torch_is_imported(folder):
    script = f"""
import sys
from pathlib import Path
from glassgpt.weights.headers import read_header
for path in {[str(folder / path) for path in PATHS.values()]}:
    read_header(Path(path))
sys.exit("torch" in sys.modules)
"""
    assert subprocess.run([sys.executable, "-c", script]).returncode == 0


def test_what_is_no_model_is_described(tmp_path):
    assert recognize(tmp_path) is None
    with pytest.raises(ValueError, match="is an empty directory, which no format here is"):
        read_header(tmp_path)
    (tmp_path / "x").write_bytes(b"hello")
    with pytest.raises(ValueError, match="is a file of 5 bytes beginning 68 65 6c 6c 6f, which no format here is"):
        read_header(tmp_path / "x")
    with pytest.raises(FileNotFoundError, match="there is no file or directory"):
        read_header(tmp_path / "y")
