"""From documents to shards: complete, divided, the same on any number of threads, and after any number of kills."""

import json
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from glassgpt.data.documents import SHAKESPEARE
from glassgpt.data.manifest import MANIFEST, Split
from glassgpt.data.prepare import locked, prepare
from glassgpt.data.shards import Shards
from glassgpt.tokenizer.gpt2 import gpt2
from glassgpt.tokenizer.tokenizer import Tokenizer

GPT2 = gpt2()
SPEECHES = SHAKESPEARE.read_text().split("\n\n")


@pytest.fixture(scope="module")
def speeches(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The 7,000 speeches of eight plays as documents, about one in a hundred said more than once."""
    path = tmp_path_factory.mktemp("corpus") / "speeches.jsonl"
    path.write_text("".join(json.dumps({"text": text}) + "\n" for text in SPEECHES))
    return path


def documents(directory: Path, split: Split, tokenizer: Tokenizer = GPT2) -> list[str]:
    """The texts that the shards hold."""
    shards = Shards.open(directory, split)
    shards.verify()
    ids = shards.read(0, shards.num_tokens)
    starts = np.flatnonzero(ids == tokenizer.eot)
    assert starts[0] == 0
    return [tokenizer.decode(part[1:].tolist()) for part in np.split(ids, starts[1:])]


def content(directory: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in directory.iterdir()}


def test_the_shards_hold_every_document(speeches: Path, tmp_path: Path):
    manifest = prepare([speeches], tmp_path, GPT2, val_fraction=0.1)
    train, val = documents(tmp_path, "train"), documents(tmp_path, "val")
    assert sorted(train + val) == sorted(SPEECHES)
    assert not set(train) & set(val)
    assert 0.08 < len(val) / len(SPEECHES) < 0.12
    assert manifest.divided == "by document"
    assert [sum(shard.documents for shard in manifest.splits[split]) for split in manifest.splits] == [
        len(train), len(val)
    ]  # fmt: skip
    assert [text for text in SPEECHES if text in set(val)] == val  # in the order of the source
    assert Tokenizer.load(tmp_path).sha256 == manifest.tokenizer_sha256 == GPT2.sha256


@pytest.mark.parametrize("workers", [1, 3])
@pytest.mark.parametrize("shard_tokens", [10_000, 10**9])
def test_threads_and_shards_change_no_token(speeches: Path, tmp_path: Path, workers: int, shard_tokens: int):
    prepare([speeches], tmp_path / "a", GPT2)
    manifest = prepare([speeches], tmp_path / "b", GPT2, workers=workers, shard_tokens=shard_tokens)
    assert (len(manifest.splits["train"]) > 1) == (shard_tokens == 10_000)
    for split in ("train", "val"):
        one, other = Shards.open(tmp_path / "a", split), Shards.open(tmp_path / "b", split)
        assert one.read(0, 10**6).tolist() == other.read(0, 10**6).tolist()


def test_several_sources_follow_each_other(speeches: Path, tmp_path: Path):
    (tmp_path / "note.txt").write_text("A note on the plays.\n")
    manifest = prepare([tmp_path / "note.txt", speeches], tmp_path / "out", GPT2, val_fraction=0)
    assert documents(tmp_path / "out", "train") == ["A note on the plays.\n", *SPEECHES]
    assert manifest.request is not None
    assert [source.name for source in manifest.request.sources] == ["note.txt", "speeches.jsonl"]
    assert list(manifest.splits) == ["train"]


def test_one_text_is_divided_by_position(tmp_path: Path):
    manifest = prepare(["shakespeare"], tmp_path, GPT2, val_fraction=0.1)
    [train], [val] = documents(tmp_path, "train"), documents(tmp_path, "val")
    assert train + val == SHAKESPEARE.read_text()
    assert manifest.divided == "by position"


def test_a_vocabulary_may_be_learnt_from_the_training_documents(tmp_path: Path):
    manifest = prepare(["shakespeare"], tmp_path, 600, val_fraction=0.1)
    tokenizer = Tokenizer.load(tmp_path)
    assert manifest.vocab_size == tokenizer.vocab_size == 600
    [train], [val] = documents(tmp_path, "train", tokenizer), documents(tmp_path, "val", tokenizer)
    assert train + val == SHAKESPEARE.read_text()


def test_few_documents_still_leave_one_for_validation(tmp_path: Path):
    path = tmp_path / "a.jsonl"
    path.write_text("".join(json.dumps({"text": text}) + "\n" for text in ["one", "two", "three", "two"]))
    prepare([path], tmp_path / "out", GPT2, val_fraction=0.001)
    train, val = documents(tmp_path / "out", "train"), documents(tmp_path / "out", "val")
    assert sorted(train + val) == ["one", "three", "two", "two"] and not set(train) & set(val)


def test_copies_of_one_document_cannot_be_divided(tmp_path: Path):
    (tmp_path / "a.jsonl").write_text('{"text": "one"}\n' * 5)
    with pytest.raises(ValueError, match="none are left to train on"):
        prepare([tmp_path / "a.jsonl"], tmp_path / "out", GPT2)


def test_what_is_finished_is_left_alone(speeches: Path, tmp_path: Path):
    manifest = prepare([speeches], tmp_path, GPT2)
    before = {path.name: path.stat().st_mtime_ns for path in tmp_path.iterdir() if path.name != ".lock"}
    assert prepare([speeches], tmp_path, GPT2, workers=1) == manifest
    assert {path.name: path.stat().st_mtime_ns for path in tmp_path.iterdir() if path.name != ".lock"} == before


def test_a_directory_is_never_mixed_with_something_else(speeches: Path, tmp_path: Path):
    prepare([speeches], tmp_path, GPT2)
    with pytest.raises(ValueError, match="made with other val_fraction: name another directory or delete this one"):
        prepare([speeches], tmp_path, GPT2, val_fraction=0.5)
    with pytest.raises(ValueError, match="made with other vocabulary"):
        prepare([speeches], tmp_path, 500)
    with pytest.raises(ValueError, match="made with other sources"):
        prepare([SHAKESPEARE], tmp_path, GPT2)


def test_what_was_written_is_no_source(tmp_path: Path):
    (tmp_path / "a.txt").write_text("A line of text.\n" * 100)
    manifest = prepare([tmp_path], tmp_path / "out", GPT2, val_fraction=0.1)
    assert prepare([tmp_path], tmp_path / "out", GPT2, val_fraction=0.1) == manifest


def test_two_preparations_of_one_directory_do_not_meet(tmp_path: Path):
    with locked(tmp_path), pytest.raises(ValueError, match="another process is preparing"):
        prepare([SHAKESPEARE], tmp_path, GPT2)


def test_a_bad_document_stops_the_work(speeches: Path, tmp_path: Path):
    path = tmp_path / "a.jsonl"
    path.write_text(speeches.read_text() + "broken\n")
    with pytest.raises(ValueError, match=rf"line {len(SPEECHES) + 1:,} is not JSON"):
        prepare([path], tmp_path / "out", GPT2)
    assert not (tmp_path / "out" / MANIFEST).exists()


def test_what_cannot_be_read_is_said_before_anything_is_written(speeches: Path, tmp_path: Path):
    (tmp_path / "a.pdf").write_text("x")
    (tmp_path / "empty.txt").touch()
    (tmp_path / "a.jsonl").write_text('{"body": "x"}\n')
    for name, message in (("a.pdf", "a source ends in"), ("empty.txt", "is empty"), ("a.jsonl", "no field 'text'")):
        with pytest.raises(ValueError, match=message):
            prepare([speeches, tmp_path / name], tmp_path / "out", GPT2)
    assert not (tmp_path / "out").exists()


def test_progress_is_told(speeches: Path, tmp_path: Path):
    told: list[tuple[int, int, int]] = []
    prepare([speeches], tmp_path, GPT2, report=lambda *numbers: told.append(numbers))
    size = speeches.stat().st_size
    assert told == sorted(told) and len(told) > 2
    assert told[-1] == (size, size, sum(len(text.encode()) for text in SPEECHES))


CHILD = """
import os, signal, sys
from glassgpt.data.prepare import prepare

source, out, kill_at = sys.argv[1], sys.argv[2], int(sys.argv[3])
count = 0

def kill(event, arguments):  # an audit event comes before what it announces
    global count
    if event == "os.rename":
        count += 1
        if count == kill_at:
            os.kill(os.getpid(), signal.SIGKILL)

sys.addaudithook(kill)
prepare([source], out, 500, shard_tokens=30_000, val_fraction=0.1)
"""


def test_killed_again_and_again_it_ends_with_the_same_files(speeches: Path, tmp_path: Path):
    child = [sys.executable, "-c", CHILD, str(speeches)]
    subprocess.run([*child, str(tmp_path / "once"), "0"], check=True)
    assert len(list((tmp_path / "once").glob("tokens_train_*.bin"))) > 5
    # A block ends with three renames: its training shard, its validation shard, the note that it is finished.
    for kill_at in (1, 5, 6, 2, 3, 4, 7):
        killed = subprocess.run([*child, str(tmp_path / "often"), str(kill_at)])
        assert killed.returncode == -signal.SIGKILL
    subprocess.run([*child, str(tmp_path / "often"), "0"], check=True)
    assert content(tmp_path / "often") == content(tmp_path / "once")


FULL = """
import resource, sys
from glassgpt.data.prepare import prepare

resource.setrlimit(resource.RLIMIT_FSIZE, (200_000, 200_000))
prepare([sys.argv[1]], sys.argv[2], 500, shard_tokens=70_000, val_fraction=0.1)
"""


def test_a_full_disk_is_named_and_nothing_is_lost(speeches: Path, tmp_path: Path):
    failed = subprocess.run([sys.executable, "-c", FULL, str(speeches), str(tmp_path / "full")], capture_output=True)
    assert b"File too large: '" in failed.stderr and b"tokens_train_000000.partial" in failed.stderr
    prepare([speeches], tmp_path / "full", 500, shard_tokens=70_000, val_fraction=0.1)
    prepare([speeches], tmp_path / "roomy", 500, shard_tokens=70_000, val_fraction=0.1)
    assert content(tmp_path / "full") == content(tmp_path / "roomy")
