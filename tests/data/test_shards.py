"""Many files of tokens as one sequence, and the manifest that vouches for them."""

import json
import random
from pathlib import Path

import numpy as np
import pytest

from glassgpt.data.manifest import MANIFEST, Manifest, Shard
from glassgpt.data.shards import Shards, write
from glassgpt.data.token_file import TokenWriter, write_file

EOT = 299


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    write(tmp_path, {"train": [range(100), range(100, 250)], "val": [range(20)]}, 300, EOT, "0" * 64)
    return tmp_path


def several(directory: Path, sizes: list[int]) -> Shards:
    """Shards that hold 0, 1, 2, ... in files of the given sizes."""
    shards, start = [], 0
    for number, size in enumerate(sizes):
        writer = TokenWriter(directory / f"tokens_train_{number:06d}.bin", 50257)
        writer.add(np.arange(start, start + size))
        shards.append(Shard(name=writer.path.name, sha256=writer.close(), tokens=size, documents=0))
        start += size
    manifest = Manifest(
        dtype="uint16", vocab_size=50257, eot=50256, tokenizer_sha256="0" * 64, splits={"train": shards}
    )
    write_file(directory / MANIFEST, manifest.encode())
    return Shards.open(directory)


def test_end_of_text_stands_before_every_document(directory: Path):
    shards = Shards.open(directory)
    assert shards.read(0, 1000).tolist() == [EOT, *range(100), EOT, *range(100, 250)]
    assert Shards.open(directory, "val").read(0, 1000).tolist() == [EOT, *range(20)]


def test_the_manifest_says_what_is_there(directory: Path):
    manifest = Shards.open(directory).manifest
    assert manifest is not None
    assert (manifest.vocab_size, manifest.dtype, manifest.eot) == (300, "uint16", EOT)
    [train], [val] = manifest.splits["train"], manifest.splits["val"]
    assert (train.tokens, train.documents, val.tokens, val.documents) == (252, 2, 21, 1)


@pytest.mark.parametrize("sizes", [[50], [1] * 50, [10, 0, 0, 25, 15], [49, 1]])
def test_reading_goes_across_files(tmp_path: Path, sizes: list[int]):
    shards = several(tmp_path, sizes)
    assert shards.num_tokens == 50
    for start in range(51):
        for count in (0, 1, 7, 50, 99):
            assert shards.read(start, count).tolist() == list(range(50))[start : start + count]


def test_files_without_a_manifest_are_read_too(tmp_path: Path):
    np.arange(50, dtype="<u2").tofile(tmp_path / "train.bin")  # nanoGPT
    np.arange(9, dtype="<u2").tofile(tmp_path / "val.bin")
    assert Shards.open(tmp_path).num_tokens == 50
    assert Shards.open(tmp_path, "val").num_tokens == 9
    assert Shards.open(tmp_path / "val.bin").vocab_size == 9

    several(tmp_path, [20, 30])  # llm.c, as others publish it
    for name in (MANIFEST, "train.bin"):
        (tmp_path / name).unlink()
    assert Shards.open(tmp_path).read(0, 99).tolist() == list(range(50))
    with pytest.raises(ValueError, match=r"no manifest\.json to compare with"):
        Shards.open(tmp_path).verify()


def test_what_is_not_there_is_named(tmp_path: Path, directory: Path):
    with pytest.raises(FileNotFoundError, match=r"no \*train\*\.bin: run glassgpt prepare"):
        Shards.open(tmp_path / "nowhere")
    several(tmp_path, [10])
    with pytest.raises(ValueError, match="holds no val tokens, only train"):
        Shards.open(tmp_path, "val")


def test_a_shard_that_is_not_the_manifests_is_refused_at_once(directory: Path):
    path = directory / "tokens_train_000000.bin"
    (directory / "tokens_val_000000.bin").replace(path)
    with pytest.raises(ValueError, match=r"holds 21 uint16 tokens, manifest\.json says 252 uint16"):
        Shards.open(directory)
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(ValueError, match="cut off or damaged"):
        Shards.open(directory)
    path.unlink()
    with pytest.raises(FileNotFoundError):
        Shards.open(directory)


def test_every_flipped_bit_is_found(directory: Path):
    rng = random.Random(0)
    Shards.open(directory).verify()
    for path in (directory / "tokens_train_000000.bin", directory / MANIFEST):
        good = path.read_bytes()
        for _ in range(200):
            bad = bytearray(good)
            bad[rng.randrange(len(bad))] ^= 1 << rng.randrange(8)
            path.write_bytes(bad)
            with pytest.raises(ValueError, match=path.name):
                Shards.open(directory).verify()
        path.write_bytes(good)


def test_a_manifest_of_another_kind_is_refused(directory: Path):
    path = directory / MANIFEST
    manifest = Manifest.read(path)
    for change in ({"version": 2}, {"format": "other"}, {"eot": -1}, {"surprise": 1}):
        write_file(path, seal_with(manifest, change))
        with pytest.raises(ValueError, match=f"{next(iter(change))}.*prepare the data again with this version"):
            Shards.open(directory)
    path.write_text(json.dumps(json.loads(manifest.encode()), indent=1))
    with pytest.raises(ValueError, match="not what was written"):
        Shards.open(directory)


def seal_with(manifest: Manifest, change: dict) -> bytes:
    from glassgpt.data.canonical import seal

    return seal({**manifest.model_dump(), **change})


def test_types_do_not_mix(tmp_path: Path):
    for number, vocab_size in enumerate([50257, 100_000]):
        writer = TokenWriter(tmp_path / f"train_{number}.bin", vocab_size)
        writer.add(np.arange(5))
        writer.close()
    with pytest.raises(ValueError, match="mixes uint16 and uint32 tokens"):
        Shards.open(tmp_path)
