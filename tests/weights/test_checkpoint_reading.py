import logging
from pathlib import Path

import pytest

from glassgpt.training.torture.savers import COMMITTING, content
from glassgpt.weights.checkpoint import Checkpoint, CorruptCheckpoint, candidates, newest
from glassgpt.weights.source import find


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    """A directory of checkpoints with steps 1 and 2."""
    return COMMITTING.prepare(tmp_path / "run" / "checkpoints")


def test_newest_is_the_highest_step(directory: Path) -> None:
    checkpoint = newest(directory)
    assert checkpoint is not None
    assert checkpoint.step == 2
    assert {name: checkpoint.read(name) for name in checkpoint.manifest.files} == content(2)


def test_a_run_is_a_source_of_weights(directory: Path) -> None:
    assert find(directory.parent) == directory / "step-00000002"


def test_no_checkpoint_at_all(tmp_path: Path) -> None:
    assert newest(tmp_path) is None
    assert newest(tmp_path / "missing") is None


def test_a_damaged_one_is_passed_over_and_named(directory: Path, caplog: pytest.LogCaptureFixture) -> None:
    weights = directory / "step-00000002" / "model.safetensors"
    weights.write_bytes(bytes(weights.stat().st_size))
    checkpoint = newest(directory)
    assert checkpoint is not None
    assert checkpoint.step == 1
    assert "step-00000002 is rejected: model.safetensors is damaged" in caplog.text


def test_none_left_is_an_error_and_not_a_fresh_start(directory: Path) -> None:
    (directory / "step-00000001" / "config.json").unlink()
    (directory / "step-00000002" / "manifest.json").write_bytes(b"")
    with pytest.raises(CorruptCheckpoint, match=r"step-00000002: manifest\.json.*step-00000001: config\.json"):
        newest(directory)


def test_a_renamed_directory_is_refused(directory: Path) -> None:
    (directory / "step-00000002").rename(directory / "step-00000003")
    with pytest.raises(ValueError, match=r"manifest\.json is of step 2, the directory is called step-00000003"):
        Checkpoint.open(directory / "step-00000003")


def test_other_names_are_no_candidates(directory: Path) -> None:
    for name in ("step-3", "step-00000003-old", ".stage-00000003-0123abcd", ".trash-00000001-0123abcd", "latest"):
        (directory / name).mkdir()
    assert [path.name for path in candidates(directory)] == ["step-00000002", "step-00000001"]


def test_symbolic_links_are_refused(directory: Path, tmp_path: Path) -> None:
    older, newer = directory / "step-00000001", directory / "step-00000002"
    config = newer / "config.json"
    config.rename(tmp_path / "config.json")
    config.symlink_to(tmp_path / "config.json")
    with pytest.raises(ValueError, match=r"config\.json cannot be opened"):
        Checkpoint.open(newer).verify()

    (older / "training").rename(tmp_path / "training")
    (older / "training").symlink_to(tmp_path / "training")
    with pytest.raises(ValueError, match="training is a symbolic link"):
        Checkpoint.open(older).verify()

    (directory / "step-00000003").symlink_to(older)
    with pytest.raises(ValueError, match="step-00000003 is a symbolic link"):
        Checkpoint.open(directory / "step-00000003")


def test_a_dangling_link_is_passed_over(directory: Path) -> None:
    (directory / "step-00000003").symlink_to(directory / "gone")
    checkpoint = newest(directory)
    assert checkpoint is not None
    assert checkpoint.step == 2


def test_a_directory_in_place_of_a_file_is_refused(directory: Path) -> None:
    (directory / "step-00000002" / "config.json").unlink()
    (directory / "step-00000002" / "config.json").mkdir()
    with pytest.raises(ValueError, match=r"config\.json"):
        Checkpoint.open(directory / "step-00000002").verify()


def test_read_hashes_what_it_returns(directory: Path) -> None:
    checkpoint = Checkpoint.open(directory / "step-00000002")
    (checkpoint.path / "config.json").write_bytes(b'{"model_type": "gpt3"}')
    with pytest.raises(ValueError, match=r"config\.json is damaged"):
        checkpoint.read("config.json")
    with pytest.raises(ValueError, match=r"has no file 'weights\.bin'"):
        checkpoint.read("weights.bin")


def test_unlisted_files_are_mentioned(directory: Path, caplog: pytest.LogCaptureFixture) -> None:
    (directory / "step-00000002" / "training" / "pickle.pt").write_bytes(b"?")
    with caplog.at_level(logging.WARNING):
        Checkpoint.open(directory / "step-00000002").verify()
    assert "training/pickle.pt" in caplog.text
