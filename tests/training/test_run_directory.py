"""The directory of a run that begins: what does not fit together leaves nothing, and nobody removes what is not his."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from glassgpt.data.documents import SHAKESPEARE
from glassgpt.data.prepare import Busy, locked, prepare
from glassgpt.training.config import RunConfig
from glassgpt.training.run import layout
from glassgpt.training.start import start, tentative


def test_what_does_not_fit_together_leaves_nothing(tmp_path: Path):
    (tmp_path / "my.txt").write_text("a few words\n")
    config = RunConfig.model_validate({"data": {"sources": [str(tmp_path / "my.txt")], "vocab_size": 257}})
    with pytest.raises(ValueError, match="one window needs 257"):
        start(config, tmp_path / "run")
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("batch_size", [4, 2])
def test_a_batch_that_cannot_be_divided_is_refused(batch_size: int):
    with pytest.raises(ValueError, match=f"a batch of {batch_size} cannot be divided over 3 ranks"):
        layout(RunConfig(batch_size=batch_size), 3)


def test_processes_that_do_not_fit_are_refused_before_anything_is_prepared(tmp_path: Path):
    parallel = {"data": "fsdp", "tensor": 2}
    config = RunConfig.model_validate({"data": {"sources": [str(SHAKESPEARE)]}, "parallel": parallel})
    told: list[int] = []
    with pytest.raises(ValueError, match="no whole groups of tensor 2"):
        start(config, tmp_path / "run", report=lambda done, *_: told.append(done))
    assert not told


@pytest.mark.parametrize("split", ["train", "val"])
def test_tokens_are_verified_before_they_are_learnt(corpus, tmp_path: Path, split: str):
    data = shutil.copytree(corpus[1], tmp_path / "data")
    for name, content in corpus[0].files().items():
        (data / name).write_bytes(content)
    config = RunConfig.model_validate({"data": {"sources": [str(data)]}, "model": {"context_length": 16}})
    told: list[tuple[int, ...]] = []
    start(config, tmp_path / "run", report=lambda *progress: told.append(progress[:2]))
    assert told[-1][0] == told[-1][1] == sum(path.stat().st_size for path in data.glob("*.bin"))
    path = data / f"tokens_{split}_000000.bin"
    flipped = bytearray(path.read_bytes())
    flipped[-1] ^= 1
    path.write_bytes(flipped)
    with pytest.raises(ValueError, match=rf"{path.name} has SHA-256.*prepare the data again"):
        start(config, tmp_path / "other")


def test_what_was_there_stays(tmp_path: Path):
    (tmp_path / "notes.txt").write_text("mine")
    with pytest.raises(FileNotFoundError), tentative(tmp_path):
        raise FileNotFoundError
    assert (tmp_path / "notes.txt").exists()


def test_what_another_process_is_preparing_stays(tmp_path: Path):
    data = tmp_path / "run" / "data"
    with pytest.raises(Busy), tentative(tmp_path / "run"):
        data.mkdir()  # by the other one, which came later and was faster
        with locked(data):
            prepare([SHAKESPEARE], data, 300)
    assert data.exists()
