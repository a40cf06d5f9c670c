"""torch.save and torch.load are the judges; zipfile makes the files that are refused."""

import zipfile
from pathlib import Path

import pytest
import torch

from glassgpt.weights.lazy import LazyTensors
from glassgpt.weights.torch_files import TorchFile, is_torch_file
from glassgpt.weights.torch_writer import write_torch

TENSORS = {
    "a": torch.arange(12.0).view(3, 4),
    "half": torch.arange(6, dtype=torch.float16).view(2, 3),
    "brain": torch.arange(6, dtype=torch.bfloat16),
    "scalar": torch.tensor(2.5, dtype=torch.float64),
    "mask": torch.tensor([True, False]),
    "count": torch.tensor([7], dtype=torch.int64),
}


def saved(path: Path, content, **options) -> Path:
    torch.save(content, path, **options)
    return path


def state(path: Path) -> LazyTensors:
    file = TorchFile(path)
    return LazyTensors.at(file.stored(file.content))


@pytest.mark.parametrize("protocol", [2, 3, 4, 5])
def test_what_torch_saved_is_read(tmp_path, protocol):
    tensors = state(saved(tmp_path / "x.pt", TENSORS, pickle_protocol=protocol))
    assert tensors.keys() == TENSORS.keys()
    for name, tensor in TENSORS.items():
        assert tensors.blank[name].dtype == tensors[name].dtype == tensor.dtype
        assert torch.equal(tensors[name], tensor)


def test_a_module_with_its_optimizer_is_read(tmp_path):
    """Parameters, buffers, ``_metadata``, an optimizer's state: what training scripts save."""
    module = torch.nn.Sequential(torch.nn.Linear(3, 4), torch.nn.BatchNorm1d(4))
    optimizer = torch.optim.AdamW(module.parameters())
    module(torch.ones(2, 3)).sum().backward()
    optimizer.step()
    content = {"model": module.state_dict(), "optimizer": optimizer.state_dict(), "parameter": module[0].weight}
    file = TorchFile(saved(tmp_path / "x.pt", content))
    tensors = LazyTensors.at(file.stored(file.content["model"]))
    assert all(torch.equal(tensors[name], tensor) for name, tensor in module.state_dict().items())
    moments = LazyTensors.at(file.stored({"exp_avg": file.content["optimizer"]["state"][0]["exp_avg"]}))
    assert torch.equal(moments["exp_avg"], optimizer.state_dict()["state"][0]["exp_avg"])
    assert file.content["optimizer"]["param_groups"][0]["betas"] == (0.9, 0.999)


def test_tied_tensors_and_parts_of_one_storage_are_read(tmp_path):
    whole = torch.arange(24.0)
    tensors = state(saved(tmp_path / "x.pt", {"a": whole[:12].view(3, 4), "b": whole[12:], "tied": whole[12:]}))
    assert torch.equal(tensors["a"], whole[:12].view(3, 4))
    assert torch.equal(tensors["b"], tensors["tied"])


def test_torch_reads_what_is_written(tmp_path):
    content = {"model": LazyTensors.of(TENSORS | {"tied": TENSORS["a"]}), "settings": {"n": 3, "rate": 0.5, "on": True}}
    write_torch(tmp_path / "x.pt", content, {"tied": "a"})
    theirs = torch.load(tmp_path / "x.pt", weights_only=True)
    assert theirs["settings"] == content["settings"]
    assert all(torch.equal(theirs["model"][name], tensor) for name, tensor in TENSORS.items())
    assert theirs["model"]["tied"].data_ptr() == theirs["model"]["a"].data_ptr()
    mapped = torch.load(tmp_path / "x.pt", weights_only=True, mmap=True)
    assert torch.equal(mapped["model"]["half"], TENSORS["half"])

    ours = TorchFile(tmp_path / "x.pt")
    assert torch.equal(LazyTensors.at(ours.stored(ours.content["model"]))["tied"], TENSORS["a"])
    write_torch(tmp_path / "y.pt", content, {"tied": "a"})
    assert (tmp_path / "x.pt").read_bytes() == (tmp_path / "y.pt").read_bytes()


def test_the_format_before_1_6_is_refused_with_the_way_out(tmp_path):
    path = saved(tmp_path / "x.pt", TENSORS, _use_new_zipfile_serialization=False)
    assert is_torch_file(path)
    with pytest.raises(ValueError, match=r"save it again with torch\.save\(torch\.load\(FILE, weights_only=True\)"):
        TorchFile(path)


def test_other_files_are_no_torch_files(tmp_path):
    (tmp_path / "x.pt").write_bytes(b"\x93NUMPY")
    (tmp_path / "empty.pt").write_bytes(b"")
    assert not any(map(is_torch_file, [tmp_path, tmp_path / "x.pt", tmp_path / "empty.pt", tmp_path / "absent.pt"]))


def rewritten(source: Path, path: Path, change=lambda name, content: {name: content}, **options) -> Path:
    """The same zip by Python's zipfile; ``change`` gives for an entry those that replace it."""
    with zipfile.ZipFile(source) as old, zipfile.ZipFile(path, "w", **options) as new:
        for name in old.namelist():
            for renamed, content in change(name, old.read(name)).items():
                new.writestr(renamed, content)
    return path


@pytest.fixture
def plain(tmp_path) -> Path:
    return saved(tmp_path / "plain.pt", {"a": torch.arange(12.0)})


def test_a_zip_that_another_program_stored_is_read(plain, tmp_path):
    assert torch.equal(state(rewritten(plain, tmp_path / "x.pt"))["a"], torch.arange(12.0))


@pytest.mark.parametrize(
    ("change", "options", "message"),
    [
        (lambda n, c: {n: c}, {"compression": zipfile.ZIP_DEFLATED}, "is compressed, expected it stored"),
        (lambda n, c: {n: c, f"{n}/../../../etc/x": b""}, {}, "is none that torch.save writes"),
        (lambda n, c: {"/" + n: c}, {}, "is none that torch.save writes"),
        (lambda n, c: {n.replace("plain", "a" if n.endswith("pkl") else "b"): c}, {}, "none that torch.save writes"),
        (lambda n, c: {n.replace("n/version", "n/code/__torch__.py"): c}, {}, "'plain/code/__torch__.py' is none"),
        (lambda n, c: {} if n.endswith("pkl") else {n: c}, {}, r"it has no data\.pkl"),
        (lambda n, c: {} if n.endswith("data/0") else {n: c}, {}, "it has no storage data/0"),
        (lambda n, c: {n: c[:-4] if n.endswith("data/0") else c}, {}, "data/0 has 44 bytes, 12 of float32 were"),
        (lambda n, c: {n: c + bytes(4) if n.endswith("data/0") else c}, {}, "data/0 has 52 bytes, 12 of float32"),
        (lambda n, c: {n: b"big" if n.endswith("byteorder") else c}, {}, "big-endian"),
        (lambda n, c: {n: b"\x80\x02cos\nsystem\n." if n.endswith("pkl") else c}, {}, r"it names os\.system"),
    ],
)
def test_a_zip_that_is_not_as_torch_writes_it_is_refused(plain, tmp_path, change, options, message):
    with pytest.raises(ValueError, match=message):
        state(rewritten(plain, tmp_path / "x.pt", change, **options))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda b: b"#!/bin/sh\n" + b, "two ends disagree|contradicts|starts at byte|cannot be"),
        (lambda b: b + b"\n", "does not end like a zip file"),
        (lambda b: b[:-1], "does not end like a zip file"),
        (lambda b: b[:1000], "does not end like a zip file"),
        (lambda b: b[:4], "does not end like a zip file"),
        (lambda b: b.replace(b"data/0", b"data/1", 1), "contradicts the directory|has no storage"),
        (lambda b: b.replace(b"PK\7\x08", b"PK\7\x09", 1), "contradicts the directory"),
        (lambda b: b.replace(b"PK\1\2", b"PK\1\3", 1), "the zip directory is damaged"),
        (lambda b: b.replace(b"PK\6\7", b"PK\6\6", 1), "cannot be|does not end"),
        (lambda b: b[:-8] + b"\xff\xff\xff\x7f" + b[-4:], "two ends disagree"),
    ],
)
def test_a_zip_that_can_be_read_in_two_ways_is_refused(plain, tmp_path, change, message):
    (tmp_path / "x.pt").write_bytes(change(plain.read_bytes()))
    with pytest.raises(ValueError, match=message):
        state(tmp_path / "x.pt")


def test_a_name_twice_is_refused(plain, tmp_path):
    with pytest.warns(UserWarning, match="Duplicate name"):
        path = rewritten(plain, tmp_path / "x.pt", lambda n, c: {n: c})
        with zipfile.ZipFile(path, "a") as archive:
            archive.writestr("plain/data/0", torch.ones(12).numpy().tobytes())
    with pytest.raises(ValueError, match="'plain/data/0' is there twice"):
        TorchFile(path)


@pytest.mark.parametrize("name", ["plain/data.pkl", "plain/data/0"])
def test_a_flipped_bit_is_found_by_crc(plain, tmp_path, name):
    content = bytearray(plain.read_bytes())
    with zipfile.ZipFile(plain) as archive:
        at = content.index(archive.read(name)[-9:])
    content[at] ^= 1
    (tmp_path / "x.pt").write_bytes(content)
    with pytest.raises(ValueError, match=r"data(\.pkl|/0) is damaged: its CRC-32 is"):
        dict(state(tmp_path / "x.pt"))


def test_tensors_that_overlap_in_part_are_refused(tmp_path):
    whole = torch.arange(24.0)
    with pytest.raises(ValueError, match=r"a and b overlap at byte \d+"):
        state(saved(tmp_path / "x.pt", {"a": whole[:12], "b": whole[8:]}))


@pytest.mark.parametrize(
    "content",
    [[1, 2], {"a": 1}, {1: torch.ones(2)}, {"a": {"b": torch.ones(2)}}, {"../a": torch.ones(2)}, {"a": torch.ones(0)}],
    ids=str,
)
def test_what_is_no_state_dict_is_refused(tmp_path, content):
    path = saved(tmp_path / "x.pt", content)
    with pytest.raises(ValueError, match=r"something else than named tensors|no name of a tensor|has the shape"):
        state(path)


def test_a_zip_bomb_is_refused_by_its_directory(tmp_path):
    """A gigabyte of zeros in a megabyte of file: what inflates is not stored."""
    with zipfile.ZipFile(tmp_path / "x.pt", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("x/data.pkl", bytes(10 * 2**20))
    assert (tmp_path / "x.pt").stat().st_size < 20_000
    with pytest.raises(ValueError, match="is compressed, expected it stored"):
        TorchFile(tmp_path / "x.pt")
