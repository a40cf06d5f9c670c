import pytest

from glassgpt.weights.crc32c import masked
from glassgpt.weights.sorted_table import FOOTER_BYTES, MAGIC, read_table, table
from glassgpt.weights.untrusted import RawFile
from glassgpt.weights.wire import varint

ITEMS = [(f"model/h{n:04d}/w".encode(), bytes([n % 256]) * (n % 40)) for n in range(500)]


@pytest.fixture
def read(tmp_path):
    def read_content(content: bytes) -> list[tuple[bytes, bytes]]:
        path = tmp_path / "model.index"
        path.write_bytes(content)
        return read_table(RawFile(path))

    return read_content


def of_blocks(*blocks: bytes, index: bytes | None = None) -> bytes:
    """A table of hand-made blocks, their CRCs right."""
    content, handles = b"", b""
    for block in blocks:
        handles += b"\0\1" + varint(len(h := varint(len(content)) + varint(len(block)))) + b"z" + h
        content += sealed(block)
    index = (handles if index is None else index) + bytes(4) + b"\1\0\0\0"
    start = len(content)
    content += sealed(index)
    return content + (b"\0\0" + varint(start) + varint(len(index))).ljust(FOOTER_BYTES - 8, b"\0") + MAGIC


def sealed(block: bytes) -> bytes:
    return block + b"\0" + masked(block + b"\0").to_bytes(4, "little")


def block(*entries: bytes) -> bytes:
    return b"".join(entries) + bytes(4) + b"\1\0\0\0"


def test_round_trip_over_several_blocks(read, monkeypatch):
    monkeypatch.setattr("glassgpt.weights.sorted_table.BLOCK_BYTES", 2000)
    assert read(table(ITEMS)) == ITEMS
    assert read(table([])) == []


def test_a_hand_made_table_is_read(read):
    assert read(of_blocks(block(b"\0\2\1ab1", b"\1\1\1c2"))) == [(b"ab", b"1"), (b"ac", b"2")]


@pytest.mark.parametrize("position", [0, 100, 5000, -60, -45, -1])
def test_a_flipped_bit_is_found(read, position):
    content = bytearray(table(ITEMS))
    content[position] ^= 4
    with pytest.raises(ValueError, match=r"damaged|does not end like|bytes .* are needed"):
        read(bytes(content))


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (of_blocks(block(b"\1\1\1ab")), "a key of 2 bytes shares 1 with one of 0"),
        (of_blocks(block(b"\0\1\1b1", b"\0\1\1a2")), "the key 'a' follows 'b'"),
        (of_blocks(block(b"\0\1\1a1", b"\0\1\1a2")), "the key 'a' follows 'a'"),
        (of_blocks(block(b"\0\1\x7fa1")), "127 bytes are wanted"),
        (of_blocks(block(b"\0\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01\0")), "a key of 18,446,744,073,709,551,615"),
        (of_blocks(block(b"\xff" * 12)), "more than 64 bits"),
        (of_blocks(b"\0\1\1a1" + b"\xff\0\0\0" + b"\1\0\0\0"), "its restarts lead out of it"),
        (of_blocks(b"\xff\xff\xff\x7f"), "its restarts lead out of it"),
        (of_blocks(block(), index=b"\0\1\6z" + varint(2**35 - 1) + b"\1"), r"bytes 34,359,738,367 to .* are needed"),
    ],
    ids=["shares", "order", "twice", "value", "huge", "varint", "restart", "restarts", "handle"],
)
def test_lies_are_refused(read, content, message):
    with pytest.raises(ValueError, match=message):
        read(content)


def test_compressed_blocks_are_refused(read):
    snappy = b"\0" * 10
    crc = masked(snappy + b"\1").to_bytes(4, "little")
    handle = varint(0) + varint(len(snappy))
    footer = (b"\0\0" + handle).ljust(FOOTER_BYTES - 8, b"\0") + MAGIC
    with pytest.raises(ValueError, match="the block at byte 0 is compressed"):
        read(snappy + b"\1" + crc + footer)
