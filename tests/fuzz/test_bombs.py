"""Files made to exhaust, to run code or to reach elsewhere, one of each known kind. All are refused in two seconds of
processor time and the memory of the file and 256 MB more, by a line that names file and rule."""

import json
import pickle
import struct
import zipfile
from pathlib import Path

import pytest
import torch

from glassgpt.model.gpt import GPT, initialize
from glassgpt.weights.formats import write_model
from glassgpt.weights.opened import Opened
from glassgpt.weights.sorted_table import table
from glassgpt.weights.wire import TEXT, VARINT, message


@pytest.fixture
def written(tiny, bytes_tokenizer, tmp_path):
    """Writes a small valid model in a format."""

    def write(name: str, file: str) -> Path:
        model = initialize(GPT(tiny.model_copy(update={"num_layers": 1})), seed=1)
        write_model(Opened.of(model, bytes_tokenizer), name, tmp_path / file)
        return tmp_path / file

    return write


def zipped(path: Path, pickled: bytes, storage: bytes = bytes(64), compression: int = zipfile.ZIP_STORED) -> Path:
    with zipfile.ZipFile(path, "w", compression) as archive:
        archive.writestr("x/data.pkl", pickled)
        archive.writestr("x/byteorder", b"little")
        archive.writestr("x/data/0", storage)
    return path


def test_a_zip_bomb(refusal, tmp_path):
    path = zipped(tmp_path / "x.pt", pickle.dumps({}, 2), bytes(2**30), zipfile.ZIP_DEFLATED)
    assert path.stat().st_size < 2 * 2**20
    assert "is compressed, expected it stored" in refusal(path)


def test_a_zip_of_entries_that_overlap(refusal, tmp_path):
    """One long entry, listed a thousand times."""
    path = zipped(tmp_path / "x.pt", pickle.dumps({}, 2), bytes(2**20))
    content = path.read_bytes()
    start = content.index(b"PK\1\2")
    end = content.index(b"PK\5\6")
    last = content[content.rindex(b"PK\1\2") : end]
    listed = content[start:end] + last * 1000
    footer = struct.pack("<4s4H2IH", b"PK\5\6", 0, 0, 1003, 1003, len(listed), start, 0)
    path.write_bytes(content[:start] + listed + footer)
    assert "'x/data/0' at byte 93 contradicts the directory" in refusal(path)


@pytest.mark.parametrize(
    ("stream", "reason"),
    [
        (b"\x80\x02" + b"(" * 10**6, "its stack grows"),
        (b"\x80\x02" + b"N" * 10**6, "its stack grows"),
        (b"\x80\x02]" + b"]a" * 10**6, "more than 262,144 instructions"),
        (b"\x80\x02" + b"}" + b"".join(b"X\x08\x00\x00\x00%08dNs" % n for n in range(400_000)) + b".", "instructions"),
        (b"\x80\x02N" + b"\x85" * 200_000 + b".", "neither nanoGPT's nor the book's"),
        (b"\x80\x02]" + b"\x94h\x00a" * 10_000 + b".", "damaged|neither nanoGPT's"),
        (b"\x80\x02X\xff\xff\xff\x7f" + b"a" * 100, "is damaged at byte"),
        (b"\x80\x02\x8a\xff" + b"\x7f" * 255 + b".", "neither nanoGPT's nor the book's"),
        (b"\x80\x02" + b"a" * (17 * 2**20), "has 17,825,794 bytes, expected at most 16,777,216"),
        (pickle.dumps({"a": [torch.nn.Linear]}, 2), "names torch.nn.modules.linear.Linear"),
        (b"\x80\x02cposix\nsystem\nX\x09\x00\x00\x00touch /xx\x85R.", "names posix.system, which is no part"),
    ],
    ids=["marks", "stack", "lists", "keys", "deep", "cycle", "text", "integer", "long", "class", "code"],
)
def test_a_pickle_bomb(refusal, tmp_path, stream, reason):
    answer = refusal(zipped(tmp_path / "x.pt", stream))
    assert any(each in answer for each in reason.split("|")), answer
    assert str(tmp_path / "x.pt") in answer


def test_a_tensor_of_stride_zero(refusal, tmp_path):
    torch.save({"tok_emb.weight": torch.zeros(1).expand(2**20, 2**14)}, tmp_path / "x.pt")
    assert "has the stride (0, 0)" in refusal(tmp_path / "x.pt")


@pytest.mark.parametrize("size", [2**31 - 1, 65535])
def test_a_header_that_lies_about_sizes(refusal, written, size):
    path = written("llmc", "model.bin")
    content = bytearray(path.read_bytes())
    struct.pack_into("<i", content, 24, size)
    path.write_bytes(content)
    assert str(path) in (answer := refusal(path))
    assert "emb_dim" in answer or "its header announces" in answer


@pytest.mark.parametrize("layers", [512, 513])
def test_a_header_of_many_layers(refusal, tmp_path, layers):
    """512 layers, one wide, all there: accepted, or refused for the one too many."""
    header = struct.pack("<256i", 20240326, 3, 1, 1, layers, 1, 1, 128, *[0] * 248)
    numbers = 128 + 1 + layers * (12 + 13) + 2
    (tmp_path / "x.bin").write_bytes(header + bytes(4 * numbers))
    answer = refusal(tmp_path / "x.bin")
    assert ("num_layers" in answer) == (layers == 513)


def test_a_json_that_is_deep_wide_or_long(refusal, written):
    path = written("hf", "model")
    for content, reason in [
        (b"[" * 10**6, "nested too deep"),
        (b"[" + b"[]," * 300_000 + b"[]]", "expected an object"),
        (b'{"a":' + b"1" * 2**20 + b"}", "bytes, expected JSON of at most 1,048,576"),
        (b'{"a":' + b"1" * 10_000 + b"}", "digits"),
        (b'{"a":1,"a":2}', "has the key 'a' twice"),
        (b'{"a":NaN}', "has NaN"),
        (b"\xef\xbb\xbf{}", "BOM"),
    ]:
        (path / "config.json").write_bytes(content)
        assert reason in (answer := refusal(path)), answer


def test_a_safetensors_header_of_many_tensors(refusal, tmp_path):
    entry = {"dtype": "F32", "shape": [], "data_offsets": [0, 4]}
    header = json.dumps({f"t{n}": entry for n in range(100_000)}).encode()
    (tmp_path / "x.safetensors").write_bytes(len(header).to_bytes(8, "little") + header)
    assert "it has more than 20,000 tensors" in refusal(tmp_path / "x.safetensors")


def test_a_path_traversing_index(refusal, written, tmp_path):
    """Neither Hugging Face's index nor TensorFlow's text file leads out of the directory."""
    secret = tmp_path / "secret.safetensors"
    secret.write_bytes(b"\2\0\0\0\0\0\0\0{}")
    path = written("hf", "hf")
    (path / "model.safetensors").unlink()
    for name in ["../secret.safetensors", str(secret), "..", "sub/x", "a\0b", ""]:
        (path / "model.safetensors.index.json").write_text(json.dumps({"weight_map": {"wte.weight": name}}))
        assert "a shard is a plain file name" in (answer := refusal(path)), answer

    path = written("openai", "openai")
    for name in ["../openai/model.ckpt", "x/model.ckpt", "..", ""]:
        (path / "checkpoint").write_text(f'model_checkpoint_path: "{name}"\n')
        assert "expected one name in this directory" in refusal(path)


@pytest.mark.parametrize(
    ("entry", "reason"),
    [
        ({"dims": [2**40, 2**23]}, "model/wte has 49,344 bytes, its shape"),
        ({"dims": [2**63, 2]}, "model/wte has 49,344 bytes, its shape"),
        ({"dims": [2**64 - 1]}, "model/wte has 49,344 bytes, its shape"),
        ({"dims": [1] * 100_000}, "expected up to 8 sizes"),
        ({"dims": [0, 48], "size": 0}, "expected up to 8 sizes of at least 1"),
        ({"offset": 2**62}, "model/wte ends at byte"),
        ({"offset": 8}, "overlap at byte 8"),
        ({"shard": 63}, "lies in shard 63 of 1"),
        ({"dtype": 7}, "is of TensorFlow's type 7"),
    ],
    ids=["large", "overflow", "one", "many", "empty", "beyond", "overlap", "shard", "strings"],
)
def test_a_tensorflow_index_that_lies(refusal, written, entry, reason):
    path = written("openai", "model")
    given = {"dtype": 1, "dims": [257, 48], "shard": 0, "offset": 0, "size": 49344} | entry
    shape = b"".join(message([(2, TEXT, message([(1, VARINT, size)]))]) for size in given["dims"])
    lie = message([(1, VARINT, given["dtype"]), (2, TEXT, shape), (3, VARINT, given["shard"]),
                   (4, VARINT, given["offset"]), (5, VARINT, given["size"])])  # fmt: skip
    wpe = message([(1, VARINT, 1), (2, TEXT, message([(2, TEXT, b"\x08\x03")])), (4, VARINT, 0), (5, VARINT, 12)])
    header = message([(1, VARINT, 1), (3, TEXT, b"\x08\x01")])
    (path / "model.ckpt.index").write_bytes(table([(b"", header), (b"model/wpe", wpe), (b"model/wte", lie)]))
    assert reason in (answer := refusal(path)), answer


def test_a_tensorflow_index_of_many_shards_and_entries(refusal, written):
    path = written("openai", "model")
    for shards in (0, 65, 2**40):
        header = message([(1, VARINT, shards), (3, TEXT, b"\x08\x01")])
        (path / "model.ckpt.index").write_bytes(table([(b"", header)]))
        assert f"it announces {shards} shards" in refusal(path)
    (path / "model.ckpt.index").write_bytes(table([(b"%08d" % n, b"") for n in range(30_000)]))
    assert "it has more than 20,000 entries" in refusal(path)


def test_truncated_files(refusal, written):
    for name, file in [("llmc", "a.bin"), ("nanogpt", "a.pt"), ("book", "a.pth"), ("book", "b.safetensors")]:
        path = written(name, file)
        content = path.read_bytes()
        for keep in [0, 1, 7, 100, 1023, len(content) // 2, len(content) - 1]:
            path.write_bytes(content[:keep])
            assert str(path) in refusal(path)


def test_devices_and_pipes(refusal, written, tmp_path):
    path = written("hf", "model")
    (path / "model.safetensors").unlink()
    (path / "model.safetensors").symlink_to("/dev/zero")
    assert "holds no model.safetensors" in refusal(path)
    assert "a pipe, a socket or a device" in refusal(Path("/dev/zero"))


def test_a_vocabulary_that_takes_long_to_check(refusal, written):
    """Merges of tokens of 250 bytes: to see that each follows from those before takes 60,000 steps."""
    path = written("openai", "model")
    merges = [("a" * n, "a") for n in range(1, 250)] + [("a" * 250, chr(n)) for n in range(33, 127)] * 30
    (path / "vocab.bpe").write_text("".join(f"{left} {right}\n" for left, right in merges))
    assert "vocab.bpe" in refusal(path)
