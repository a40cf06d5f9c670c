"""Files of tokens: llm.c's two flavours, nanoGPT's, and everything that is neither."""

import struct
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from glassgpt.data.token_file import TokenWriter, locate, write_file


def written(path: Path, ids: list[int], vocab_size: int = 50257) -> Path:
    writer = TokenWriter(path, vocab_size)
    writer.add(np.array(ids))
    writer.close()
    return path


def content(path: Path) -> list[int]:
    file = locate(path)
    out = np.empty(file.num_tokens, file.dtype)
    file.read_into(out, first=0)
    return out.tolist()


def test_a_file_is_what_llm_c_reads(tmp_path: Path):
    data = written(tmp_path / "a.bin", [50256, 15496, 995]).read_bytes()
    assert data[:12] == struct.pack("<3i", 20240520, 1, 3)
    assert data[12:1024] == bytes(1012)
    assert data[1024:] == struct.pack("<3H", 50256, 15496, 995)


def test_a_large_vocabulary_takes_four_bytes_a_token(tmp_path: Path):
    data = written(tmp_path / "a.bin", [1, 70_000], vocab_size=100_000).read_bytes()
    assert data[:12] == struct.pack("<3i", 20240801, 7, 2)
    assert data[1024:] == struct.pack("<2I", 1, 70_000)
    assert content(tmp_path / "a.bin") == [1, 70_000]


@pytest.mark.parametrize("vocab_size", [65_536, 65_537])
def test_the_largest_id_survives_and_the_next_is_refused(tmp_path: Path, vocab_size: int):
    assert content(written(tmp_path / "a.bin", [vocab_size - 1], vocab_size)) == [vocab_size - 1]
    for wrong in (-1, vocab_size, 2**40):
        with pytest.raises(ValueError, match=f"token id {wrong} is not in the vocabulary"):
            written(tmp_path / "b.bin", [5, wrong, 5], vocab_size)
    assert not (tmp_path / "b.bin").exists()


def test_any_part_can_be_read(tmp_path: Path):
    file = locate(written(tmp_path / "a.bin", list(range(100))))
    out = np.empty(7, file.dtype)
    file.read_into(out, first=90)
    assert out.tolist() == list(range(90, 97))


def test_nanogpt_files_have_no_header(tmp_path: Path):
    np.arange(10, dtype="<u2").tofile(tmp_path / "train.bin")
    assert content(tmp_path / "train.bin") == list(range(10))


@pytest.mark.parametrize("size", [0, 1, 3, 999])
def test_a_file_that_cannot_be_tokens_is_refused(tmp_path: Path, size: int):
    (tmp_path / "a.bin").write_bytes(b"a" * size)
    with pytest.raises(ValueError, match="no list of uint16 tokens"):
        locate(tmp_path / "a.bin")


@pytest.mark.parametrize("change", [-1, -2, -1500, +1, +2])
def test_a_length_that_disagrees_with_the_header_is_refused(tmp_path: Path, change: int):
    path = written(tmp_path / "a.bin", list(range(1000)))
    data = path.read_bytes()
    path.write_bytes(data[:change] if change < 0 else data + bytes(change))
    with pytest.raises(ValueError, match="header announces 1,000 uint16 tokens, that is 3,024 bytes"):
        locate(path)


@pytest.mark.parametrize("header", [(20240520, 2, 1), (20240801, 1, 1), (20240520,), (20240520, 1, -5)])
def test_a_damaged_header_is_refused(tmp_path: Path, header: tuple[int, ...]):
    (tmp_path / "a.bin").write_bytes(struct.pack(f"<{len(header)}i", *header))
    with pytest.raises(ValueError, match=r"unknown version|header announces"):
        locate(tmp_path / "a.bin")


def test_a_file_that_shrinks_while_in_use_is_an_error_and_not_the_end_of_the_process(tmp_path: Path):
    file = locate(written(tmp_path / "a.bin", list(range(5000))))
    with file.path.open("r+b") as handle:
        handle.truncate(2000)
    with pytest.raises(ValueError, match="ends at byte 2,000, inside its 5,000 tokens"):
        file.read_into(np.empty(5000, file.dtype), first=0)


@given(
    st.binary(max_size=1100), st.sampled_from([b"", struct.pack("<2i", 20240520, 1), struct.pack("<2i", 20240801, 7)])
)
def test_any_bytes_are_tokens_or_refused(tmp_path_factory: pytest.TempPathFactory, rest: bytes, start: bytes):
    path = tmp_path_factory.mktemp("fuzz") / "a.bin"
    path.write_bytes(start + rest)
    try:
        file = locate(path)
    except ValueError:
        return
    assert file.offset + file.num_tokens * file.dtype.itemsize == path.stat().st_size


def test_an_unfinished_file_never_has_the_final_name(tmp_path: Path):
    writer = TokenWriter(tmp_path / "a.bin", 50257)
    writer.add(np.arange(10))
    assert not (tmp_path / "a.bin").exists()
    writer.close()
    assert [path.name for path in tmp_path.iterdir()] == ["a.bin"]


def test_a_small_file_is_replaced_as_a_whole(tmp_path: Path):
    write_file(tmp_path / "a.json", b"old")
    write_file(tmp_path / "a.json", b"new")
    assert (tmp_path / "a.json").read_bytes() == b"new"
    assert [path.name for path in tmp_path.iterdir()] == ["a.json"]
