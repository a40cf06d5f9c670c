"""Documents out of files of every kind, and one clear error for whatever is not a document."""

import gzip
import json
import lzma
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from glassgpt.data.documents import SHAKESPEARE, find, pieces, read
from glassgpt.data.formats import LONGEST_LINE, LONGEST_WORD, PIECE, text_pieces
from glassgpt.tokenizer.gpt2 import gpt2

TEXTS = ["The first.\nOf two lines.\r\n", "", "Zweites: äöü 日本 😀", "<|endoftext|> is text\x00"]
LINES = "".join(json.dumps({"id": i, "text": text}) + "\n" for i, text in enumerate(TEXTS)).encode()


def arrow():
    return pytest.importorskip("pyarrow", reason="pyarrow reads .parquet and .zst; pip install 'glassgpt[data]'")


def test_a_text_file_is_one_document(tmp_path: Path):
    (tmp_path / "a.txt").write_bytes("ä\r\n日本\n\n".encode())
    assert list(read(tmp_path / "a.txt")) == ["ä\r\n日本\n\n"]


def test_a_line_is_a_document_and_blank_lines_are_nothing(tmp_path: Path):
    (tmp_path / "a.jsonl").write_bytes(b"\n" + LINES + b"  \n")
    assert list(read(tmp_path / "a.jsonl")) == TEXTS


@pytest.mark.parametrize("ending", [".gz", ".xz", ".zst"])
def test_files_may_be_compressed(tmp_path: Path, ending: str):
    path = tmp_path / f"a.jsonl{ending}"
    if ending == ".zst":
        with arrow().output_stream(path, compression="zstd") as stream:
            stream.write(LINES)
    else:
        path.write_bytes({".gz": gzip, ".xz": lzma}[ending].compress(LINES))
    assert list(read(path)) == TEXTS
    assert list(pieces(path))[-1].position == path.stat().st_size

    path.write_bytes(path.read_bytes()[:-20])
    with pytest.raises(ValueError, match=r"a\.jsonl.* is damaged or cut off .*: fetch it again"):
        list(read(path))


def test_a_row_is_a_document(tmp_path: Path):
    import pyarrow.parquet as parquet

    path = tmp_path / "a.parquet"
    parquet.write_table(arrow().table({"body": TEXTS * 200, "id": range(800)}), path, row_group_size=300)
    assert list(read(path, "body")) == TEXTS * 200
    with pytest.raises(ValueError, match=r"a\.parquet has no field 'text', only body, id: name another"):
        list(read(path))
    with pytest.raises(ValueError, match=r"row 1: field 'id' is no string but int"):
        list(read(path, "id"))
    path.write_bytes(b"PAR1" + path.read_bytes()[100:])
    with pytest.raises(ValueError, match=r"a\.parquet.*damaged"):
        list(read(path, "body"))


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ('{"title": "x", "body": "y"}', r"line 2 has no field 'text', only title, body: name another"),
        ('{"text": 5}', r"line 2: field 'text' is no string but int"),
        ('{"text": null}', r"line 2: field 'text' is null: remove the record"),
        ('["text"]', r"line 2 is no JSON object but list"),
        ('{"text": "a"', r"line 2 is not JSON \(Expecting"),
        ('{"text": "a\\ud800b"}', r"line 2: character 1 is a lone surrogate"),
        ('{"text": ' * 100_000, r"line 2 is not JSON \(maximum recursion"),
    ],
)
def test_a_bad_line_is_named(tmp_path: Path, line: str, message: str):
    (tmp_path / "a.jsonl").write_text('{"text": "good"}\n' + line + "\n")
    with pytest.raises(ValueError, match=message):
        list(read(tmp_path / "a.jsonl"))


def test_a_line_of_bytes_or_without_end_is_named(tmp_path: Path):
    (tmp_path / "a.jsonl").write_bytes(b'{"text": "caf\xe9"}\n')
    with pytest.raises(ValueError, match=r"line 1 is not UTF-8 at byte 13"):
        list(read(tmp_path / "a.jsonl"))
    (tmp_path / "b.jsonl").write_bytes(b'{"text": "' + b"a" * LONGEST_LINE)
    with pytest.raises(ValueError, match=r"line 1 is longer than 16,777,216 bytes"):
        list(read(tmp_path / "b.jsonl"))


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "is empty"),
        (b"abc\x00def", "has a NUL byte at byte 3: it is binary or not UTF-8"),
        ("Text".encode("utf-16-le"), "has a NUL byte at byte 1"),
        (b"caf\xe9 au lait", "is not UTF-8 at byte 3"),
        (b"caf\xc3", "is not UTF-8 at byte 3"),
        (b"a" * (PIECE - 1) + "é".encode() + b"\xff", f"is not UTF-8 at byte {PIECE + 1:,}"),
    ],
)
def test_what_is_no_text_is_refused_with_the_place(tmp_path: Path, content: bytes, message: str):
    (tmp_path / "a.txt").write_bytes(content)
    with pytest.raises(ValueError, match=message):
        list(read(tmp_path / "a.txt"))


def test_a_byte_order_mark_is_no_text(tmp_path: Path):
    (tmp_path / "a.txt").write_bytes(b"\xef\xbb\xbfText")
    (tmp_path / "a.jsonl").write_bytes(b'\xef\xbb\xbf{"text": "Text"}\r\n')
    assert list(read(tmp_path / "a.txt")) == list(read(tmp_path / "a.jsonl")) == ["Text"]


def test_a_file_without_documents_is_refused(tmp_path: Path):
    (tmp_path / "a.jsonl").write_text("\n\n")
    (tmp_path / "a.txt.gz").write_bytes(gzip.compress(b""))
    for name in ("a.jsonl", "a.txt.gz"):
        with pytest.raises(ValueError, match="holds no documents"):
            list(read(tmp_path / name))


def test_a_file_of_another_kind_is_refused(tmp_path: Path):
    for name in ("a.pdf", "a.gz", "a"):
        (tmp_path / name).write_text("x")
        with pytest.raises(ValueError, match=r"a source ends in \.txt, \.jsonl, \.parquet"):
            list(read(tmp_path / name))


def test_a_missing_extra_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    for name in ("a.parquet", "a.txt.zst"):
        (tmp_path / name).write_bytes(b"x")
        with pytest.raises(ValueError, match=r"needs pyarrow to be read: pip install 'glassgpt\[data\]'"):
            list(read(tmp_path / name))


def test_sources_are_files_directories_and_the_bundled_text(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    (tmp_path / "part").mkdir()
    for name in ("b.txt", "a.jsonl.xz", "part/c.parquet", "readme.md"):
        (tmp_path / name).write_text("x")
    (tmp_path / "empty.txt").touch()
    monkeypatch.chdir(tmp_path)
    assert find(["b.txt", tmp_path, "shakespeare"]) == [
        Path("b.txt"), tmp_path / "a.jsonl.xz", tmp_path / "b.txt", tmp_path / "part/c.parquet", SHAKESPEARE
    ]  # fmt: skip
    with pytest.raises(FileNotFoundError, match=r"nowhere\.txt"):
        find(["nowhere.txt"])
    (tmp_path / "empty").mkdir()
    with pytest.raises(ValueError, match="empty holds no file that ends in"):
        find(["empty"])


def test_a_long_text_comes_in_pieces_with_the_same_tokens(tmp_path: Path):
    text = (SHAKESPEARE.read_text() + "日本語 テスト\n\n  \t x's 123\r\n") * 5
    (tmp_path / "a.txt").write_text(text, newline="")
    found = list(pieces(tmp_path / "a.txt"))
    assert len(found) > 2 and max(len(piece.text) for piece in found) < 2 * PIECE
    assert [piece.is_start for piece in found] == [True] + [False] * (len(found) - 1)
    assert list(read(tmp_path / "a.txt")) == [text]
    encode = gpt2().encode
    assert [id for piece in found for id in encode(piece.text)] == encode(text)


@given(st.text(st.sampled_from("ab'st1.,é日 \n\r\t\u00a0\u3000\x1f"), max_size=200))
def test_a_piece_never_ends_where_it_would_change_tokens(text: str):
    from glassgpt.data.formats import CUT

    if cut := CUT.match(text):
        encode = gpt2().encode
        assert encode(text[: cut.end()]) + encode(text[cut.end() :]) == encode(text)


def test_a_word_without_end_is_refused(tmp_path: Path):
    (tmp_path / "a.txt").write_bytes(b"a" * (LONGEST_WORD + PIECE))
    with pytest.raises(ValueError, match="without a space or line break"):
        list(text_pieces(tmp_path / "a.txt", "text"))
