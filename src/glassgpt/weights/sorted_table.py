"""LevelDB's table as TensorFlow keeps it: keys in order with their values, in blocks that share prefixes.

Source: LevelDB's doc/table_format.md; TensorFlow's tsl/lib/io/table*.cc. Knows nothing of what the values mean.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import pairwise

from glassgpt.weights.crc32c import masked
from glassgpt.weights.untrusted import RawFile
from glassgpt.weights.wire import Cursor, varint

MAGIC = 0xDB4775248B80FB57.to_bytes(8, "little")
FOOTER_BYTES = 48
TRAILER_BYTES = 5  # how the block is compressed, and its CRC
MAX_BYTES = 16 * 2**20
MAX_ENTRIES = 20_000
MAX_KEY = 1024
BLOCK_BYTES = 256 * 1024  # when the writer begins the next one
RESTART = 16  # entries after which a key is written out again

Item = tuple[bytes, bytes]


def read_table(file: RawFile) -> list[Item]:
    """All keys, in ascending order, with their values.

    Raises:
        ValueError: the file is no table, is compressed, or a number in it leads out of its block; names the byte.
    """
    if not FOOTER_BYTES <= file.size <= MAX_BYTES:
        raise ValueError(f"it has {file.size:,} bytes, an index has {FOOTER_BYTES} to {MAX_BYTES:,}")
    footer = bytes(file.read(file.size - FOOTER_BYTES, FOOTER_BYTES))
    if not footer.endswith(MAGIC):
        raise ValueError("it does not end like an index of TensorFlow: it was cut off, or is another kind of file")
    cursor = Cursor(footer)
    _handle(cursor)  # of a block about the table itself, which TensorFlow leaves empty
    items: list[Item] = []
    for key, value in _block(file, *_handle(cursor)):
        items.extend(_block(file, *_handle(Cursor(value))))
        if len(items) > MAX_ENTRIES:
            raise ValueError(f"it has more than {MAX_ENTRIES:,} entries")
        if items and items[-1][0] > key:
            raise ValueError(f"the key {_shown(items[-1][0])} is in the wrong block")
    _check_order(items)
    return items


def table(items: Iterable[Item]) -> bytes:
    """The content of a table; ``items`` come in ascending order of their keys."""
    content, index = b"", []
    for last, block in _blocks(items):
        index.append((last, varint(len(content)) + varint(len(block))))
        content += _sealed(block)
    handles = b""
    for block in (_packed([]), _packed(index)):
        handles += varint(len(content)) + varint(len(block))
        content += _sealed(block)
    return content + handles.ljust(FOOTER_BYTES - len(MAGIC), b"\0") + MAGIC


def _handle(cursor: Cursor) -> tuple[int, int]:
    """Where a block lies: offset and size."""
    return cursor.varint(), cursor.varint()


def _block(file: RawFile, offset: int, size: int) -> list[Item]:
    """The entries of one block."""
    content = bytes(file.read(offset, size + TRAILER_BYTES))
    kind, crc = content[size], int.from_bytes(content[size + 1 :], "little")
    if masked(content[: size + 1]) != crc:
        raise ValueError(f"the block at byte {offset:,} is damaged: its CRC-32C is wrong")
    if kind != 0:
        raise ValueError(f"the block at byte {offset:,} is compressed, which TensorFlow's checkpoints are not")
    try:
        return list(_entries(content[:size]))
    except ValueError as error:
        raise ValueError(f"the block at byte {offset:,}: {error}") from None


def _entries(block: bytes) -> Iterator[Item]:
    """Each key is written as how much it shares with the one before, and the rest."""
    end = len(block) - 4
    restarts = int.from_bytes(block[end:], "little") if end >= 0 else -1
    end -= 4 * restarts
    if restarts < 0 or end < 0 or any(start > end for start in memoryview(block[end:-4]).cast("I")):
        raise ValueError("its restarts lead out of it")
    cursor, key, count = Cursor(block[:end]), b"", 0
    while not cursor.at_end:
        if (count := count + 1) > MAX_ENTRIES:
            raise ValueError(f"it has more than {MAX_ENTRIES:,} entries")
        shared, unshared, size = cursor.varint(), cursor.varint(), cursor.varint()
        if shared > len(key) or shared + unshared > MAX_KEY:
            raise ValueError(f"a key of {shared + unshared:,} bytes shares {shared:,} with one of {len(key):,}")
        key = key[:shared] + cursor.take(unshared)
        yield key, cursor.take(size)


def _check_order(items: list[Item]) -> None:
    for (before, _), (after, _) in pairwise(items):
        if before >= after:
            raise ValueError(f"the key {_shown(after)} follows {_shown(before)}: keys must ascend")


def _blocks(items: Iterable[Item]) -> Iterator[Item]:
    """The items cut into blocks: the last key of each, and the block."""
    taken: list[Item] = []
    size = 0
    for key, value in items:
        taken.append((key, value))
        size += len(key) + len(value)
        if size >= BLOCK_BYTES:
            yield key, _packed(taken)
            taken, size = [], 0
    if taken:
        yield taken[-1][0], _packed(taken)


def _packed(items: list[Item]) -> bytes:
    """The block of some items."""
    content, restarts, before = bytearray(), [0], b""
    for count, (key, value) in enumerate(items):
        shared = 0
        if count and count % RESTART == 0:
            restarts.append(len(content))
        else:
            while shared < min(len(key), len(before)) and key[shared] == before[shared]:
                shared += 1
        content += varint(shared) + varint(len(key) - shared) + varint(len(value)) + key[shared:] + value
        before = key
    return bytes(content) + b"".join(number.to_bytes(4, "little") for number in [*restarts, len(restarts)])


def _sealed(block: bytes) -> bytes:
    """The block, not compressed, with its CRC."""
    content = block + b"\0"
    return content + masked(content).to_bytes(4, "little")


def _shown(key: bytes) -> str:
    return repr(key[:100].decode("utf-8", "replace"))
