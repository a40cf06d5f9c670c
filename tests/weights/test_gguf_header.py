"""A GGUF header may say anything. Whatever is false, absurd or cut short is refused in one line, at once."""

from __future__ import annotations

import struct
from pathlib import Path

import pytest

from glassgpt.weights.gguf_header import KINDS, MAX_HEADER_BYTES, read_header

F32, Q8_0, Q4_K = 0, 8, 12
UINT8, UINT32, FLOAT32, STRING, ARRAY = 0, 4, 6, 8, 9


def text(value: str | bytes, length: int | None = None) -> bytes:
    raw = value if isinstance(value, bytes) else value.encode()
    return struct.pack("<Q", len(raw) if length is None else length) + raw


def key(name: str, type: int = UINT32, value: bytes = struct.pack("<I", 32)) -> bytes:
    return text(name) + struct.pack("<I", type) + value


def array(element: int, count: int, content: bytes = b"") -> bytes:
    return struct.pack("<IQ", element, count) + content


def tensor(name: str = "a", dims: tuple[int, ...] = (32,), type: int = F32, offset: int = 0) -> bytes:
    return text(name) + struct.pack(f"<I{len(dims)}QIQ", len(dims), *dims, type, offset)


def gguf(
    *parts: bytes, tensors: int = 0, keys: int = 0, version: int = 3, magic: bytes = b"GGUF", data: int = 0
) -> bytes:
    """A file of a header that claims these counts, these parts, padding to 32 bytes and ``data`` bytes."""
    header = magic + struct.pack("<IQQ", version, tensors, keys) + b"".join(parts)
    return header + bytes(-len(header) % 32) + bytes(data)


def test_a_header_is_read_whole(tmp_path):
    path = tmp_path / "x.gguf"
    words = array(STRING, 2, text("Ġthe") + text(""))
    numbers = array(UINT8, 3, b"\x01\x02\x03")
    path.write_bytes(
        gguf(
            key("words", ARRAY, words),
            key("numbers", ARRAY, numbers),
            tensor("a", (32, 2), Q8_0),
            keys=2,
            tensors=1,
            data=68,
        )
    )
    header = read_header(path)
    assert header.keys == {"words": ["Ġthe", ""], "numbers": (1, 2, 3)}
    entry = header.tensors["a"]
    assert (entry.shape, entry.kind, entry.bytes) == ((2, 32), KINDS[Q8_0], 68)
    assert entry.offset + entry.bytes == path.stat().st_size


HUGE = 2**62
REFUSED = {
    "an empty file": (b"", "at byte 0 the header wants 4 more, beyond its 0 bytes"),
    "another format": (gguf(magic=b"ggml"), "it does not begin with GGUF"),
    "the first version": (gguf(version=1), "it is of version 1, expected 2 or 3"),
    "a big-endian file": (gguf(version=3 << 24), "it is of version 50331648, expected 2 or 3, little-endian"),
    "more tensors than any model has": (gguf(tensors=HUGE), "it claims 4,611,686,018,427,387,904 tensors, more than"),
    "more keys than any model has": (gguf(keys=HUGE), "it claims 4,611,686,018,427,387,904 keys, more than 10,000"),
    "more tensors than there are": (gguf(tensor(), tensors=2, data=128), "wants|no name of a tensor"),
    "more keys than there are": (gguf(key("a"), keys=9), "is there twice|the header wants"),
    "a key as long as memory": (gguf(text("", HUGE), keys=1), "it claims .* bytes of text, more than 1,048,576"),
    "a key longer than the file": (gguf(text("a", 2**20), keys=1), "the header wants 1,048,576 more, beyond its"),
    "a value longer than the file": (
        gguf(key("a", STRING, text("a", 2**20)), keys=1),
        "the header wants 1,048,576 more",
    ),
    "a key that is not text": (gguf(text(b"\xff") + struct.pack("<II", 4, 1), keys=1), "at byte 32 is not UTF-8"),
    "a key of an unknown type": (gguf(key("a", 13), keys=1), "the key 'a' has the type 13, which is none of"),
    "an array as long as memory": (
        gguf(key("a", ARRAY, array(UINT8, HUGE)), keys=1),
        "it claims .* elements of 'a', more than 1,048,576",
    ),
    "an array longer than the file": (
        gguf(key("a", ARRAY, array(UINT32, 2**20)), keys=1),
        "the header wants 4,194,304",
    ),
    "an array of arrays": (
        gguf(key("a", ARRAY, array(ARRAY, 1, array(UINT8, 0))), keys=1),
        "the key 'a' has the type 9",
    ),
    "a key twice": (gguf(key("a"), key("a"), keys=2), "the key 'a' is there twice"),
    "an alignment of nothing": (gguf(key("general.alignment", value=bytes(4)), keys=1), "the alignment is 0, expected"),
    "an alignment of three": (
        gguf(key("general.alignment", value=b"\3\0\0\0"), keys=1),
        "the alignment is 3, expected",
    ),
    "an alignment of pages": (gguf(key("general.alignment", value=b"\0\0\1\0"), keys=1), "the alignment is 65536"),
    "an alignment in decimals": (
        gguf(key("general.alignment", FLOAT32, struct.pack("<f", 32.0)), keys=1),
        "the alignment is 32.0, expected",
    ),
    "a tensor twice": (gguf(tensor(), tensor(offset=128), tensors=2, data=256), "the tensor 'a' is there twice"),
    "a tensor with a long name": (
        gguf(tensor("a" * 65), tensors=1, data=128),
        "it claims 65 bytes of text, more than 64",
    ),
    "a tensor that is a path": (gguf(tensor("../a b"), tensors=1, data=128), "'../a b' is no name of a tensor"),
    "a tensor without a name": (gguf(tensor(""), tensors=1, data=128), "'' is no name of a tensor"),
    "a tensor without dimensions": (gguf(tensor(dims=()), tensors=1), "a has 0 dimensions, expected 1 to 4"),
    "a tensor of five dimensions": (
        gguf(tensor(dims=(1,) * 5), tensors=1, data=4),
        "a has 5 dimensions, expected 1 to 4",
    ),
    "a tensor of nothing": (gguf(tensor(dims=(0, HUGE)), tensors=1), r"a has the shape \(4611686018427387904, 0\)"),
    "a tensor larger than any disk": (gguf(tensor(dims=(HUGE,) * 4), tensors=1), "a would end at byte .* of a file of"),
    "a tensor that wraps 64 bits around": (
        gguf(tensor(dims=(2**33, 2**31)), tensors=1, data=64),
        "a would end at byte",
    ),
    "a tensor beyond the end": (gguf(tensor(), tensors=1, data=124), "a would end at byte 192 of a file of 188"),
    "a tensor far beyond the end": (
        gguf(tensor(offset=HUGE), tensors=1, data=128),
        "a would end at byte 4,611,686,018",
    ),
    "a tensor off the alignment": (
        gguf(tensor(offset=8), tensors=1, data=256),
        "a starts at 8, which is no multiple of",
    ),
    "tensors on top of each other": (
        gguf(tensor(dims=(64,)), tensor("b", offset=128), tensors=2, data=256),
        "a and b overlap",
    ),
    "a row that is no whole block": (gguf(tensor(dims=(33,), type=Q8_0), tensors=1, data=64), "a has rows of 33, Q8_0"),
    "numbers in blocks of 256": (gguf(tensor(dims=(256,), type=Q4_K), tensors=1, data=144), "a is stored as type 12"),
}


@pytest.mark.parametrize("what", REFUSED)
def test_a_header_that_cannot_be_true_is_refused(what, tmp_path):
    content, message = REFUSED[what]
    (path := tmp_path / "x.gguf").write_bytes(content)
    with pytest.raises(ValueError, match=message) as refusal:
        read_header(path)
    assert "\n" not in str(refusal.value)


def test_a_header_as_long_as_a_film_is_refused(tmp_path):
    path = tmp_path / "x.gguf"
    lines = [key(f"{n:08}", STRING, text(b"a" * 2**20)) for n in range(17)]
    path.write_bytes(gguf(*lines, keys=17))
    with pytest.raises(ValueError, match=f"beyond {MAX_HEADER_BYTES:,} bytes"):
        read_header(path)


def test_every_place_to_cut_a_file_is_noticed(tmp_path):
    words = array(STRING, 2, text("the") + text("cat"))
    content = gguf(key("words", ARRAY, words), key("n"), tensor(), tensors=1, keys=2, data=128)
    path: Path = tmp_path / "x.gguf"
    for length in range(len(content)):
        path.write_bytes(content[:length])
        with pytest.raises(ValueError, match=r"the header wants|would end at byte"):
            read_header(path)
