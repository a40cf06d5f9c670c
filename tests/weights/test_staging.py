"""What is written appears whole or not at all, over nothing, and an error names the place that was asked for."""

import subprocess
import sys

import pytest

from glassgpt.weights.directory import save_model
from glassgpt.weights.formats import write_model
from glassgpt.weights.opened import Opened
from glassgpt.weights.staging import staged


def test_files_beside_move_along_and_over_nothing(model, tmp_path):
    """The book's settings lie beside its weights, where a file of that name may be somebody's own."""
    write_model(Opened.of(model), "book", tmp_path / "free.pth")
    assert (tmp_path / "free.json").is_file()
    (tmp_path / "mine.json").write_text("precious")
    with pytest.raises(FileExistsError, match=r"mine\.json exists: remove it or choose another name"):
        write_model(Opened.of(model), "book", tmp_path / "mine.pth")
    assert (tmp_path / "mine.json").read_text() == "precious"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["free.json", "free.pth", "mine.json"]


def test_a_place_where_nothing_can_be_written_is_named(tmp_path):
    (tmp_path / "file").write_text("")
    message = r"nothing can be written there .*: choose another place"
    with pytest.raises(OSError, match=message) as caught, staged(tmp_path / "file" / "model"):
        pass
    assert caught.value.filename == str(tmp_path / "file" / "model")


@pytest.mark.skipif(sys.platform == "win32", reason="files have no limit there")
@pytest.mark.parametrize("form", ["hf", "gguf"])
def test_a_full_disk_is_said_of_the_destination(model, bytes_tokenizer, tmp_path, form):
    """A limit on the size of files stands for the disk: it stops a write in the middle as well."""
    pytest.importorskip("gguf", reason="needs the export extra")
    save_model(model, bytes_tokenizer, tmp_path / "model")
    script = f"""
import errno, resource
from pathlib import Path
from glassgpt.weights.formats import open_model, write_model

opened = open_model({str(tmp_path / "model")!r})
resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))
try:
    write_model(opened, {form!r}, {str(tmp_path / "out")!r})
except OSError as error:
    assert error.errno in (errno.EFBIG, errno.ENOSPC), repr(error)
    assert error.errno == errno.EFBIG or error.filename == {str(tmp_path / "out")!r}
    raise SystemExit(3)
"""
    assert subprocess.run([sys.executable, "-c", script]).returncode == 3
    assert [path.name for path in tmp_path.iterdir()] == ["model"]
