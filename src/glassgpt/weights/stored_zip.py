"""A zip file whose entries are stored as they are: where each one lies, every number checked against the file.

The standard library's reader makes the best of a broken file: bytes before and after it, entries that overlap, a name
twice, two directories that disagree. A file from elsewhere is taken only if there is one way to read it, so the entries
here fill the file from its first byte on. Knows nothing of PyTorch. Format: PKWARE's APPNOTE.TXT 6.3
"""

from __future__ import annotations

import struct
import zlib
from dataclasses import dataclass

from glassgpt.weights.untrusted import RawFile

MAX_ENTRIES = 20_000
MAX_DIRECTORY_BYTES = 16 * 2**20
BLOCK = 2**20

# APPNOTE's sections 4.3.7, 4.3.12, 4.3.14, 4.3.15 and 4.3.16.
_LOCAL = struct.Struct("<4s5H3I2H")
_CENTRAL = struct.Struct("<4s6H3I5H2I")
_END64 = struct.Struct("<4sQ2H2I4Q")
_LOCATOR = struct.Struct("<4sIQI")
_END = struct.Struct("<4s4H2IH")
_DESCRIPTOR, _DESCRIPTOR64 = struct.Struct("<4s3I"), struct.Struct("<4sI2Q")

_HAS_DESCRIPTOR, _UTF8 = 0x8, 0x800
_FULL = 0xFFFFFFFF  # "see the 64-bit number"


@dataclass(frozen=True)
class Entry:
    """One file inside: ``size`` bytes from ``offset`` on, and their CRC-32."""

    offset: int
    size: int
    crc: int


@dataclass(frozen=True)
class _Listed:
    """An entry as the central directory has it; ``start`` is where its local header begins."""

    name: bytes
    flags: int
    crc: int
    size: int
    start: int


def read_entries(file: RawFile) -> dict[str, Entry]:
    """The entries of a zip file by name.

    Raises:
        ValueError: the file is no zip, uses more of the format than storing needs, or contradicts itself.
    """
    start, end, count = _directory(file)
    listed = sorted(_listed(file.read(start, end - start), start, count), key=lambda entry: entry.start)
    entries, position = {}, 0
    for entry, following in zip(listed, [*(entry.start for entry in listed[1:]), start], strict=True):
        if entry.start != position:
            raise ValueError(
                f"the zip entry {_shown(entry.name)} starts at byte {entry.start:,}, expected {position:,}"
            )
        name, position = entry.name.decode("utf-8"), following
        if name in entries:
            raise ValueError(f"the zip entry {_shown(entry.name)} is there twice")
        entries[name] = _located(file, entry, following)
    return entries


def check_crc(file: RawFile, entry: Entry, name: str) -> None:
    """Raises ValueError unless the entry's bytes have its CRC-32."""
    crc = 0
    for offset in range(entry.offset, entry.offset + entry.size, BLOCK):
        crc = zlib.crc32(file.read(offset, min(BLOCK, entry.offset + entry.size - offset)), crc)
    if crc != entry.crc:
        raise ValueError(f"the zip entry {name} is damaged: its CRC-32 is {crc:08x}, {entry.crc:08x} was written")


def _directory(file: RawFile) -> tuple[int, int, int]:
    """Where the central directory starts and ends, and how many entries it has."""
    end = file.size - _END.size
    if end < 0 or file.read(end, 4) != b"PK\5\6":
        raise ValueError("it does not end like a zip file: it was cut off, or something was appended")
    _, disk, first_disk, here, count, size, start, comment = _END.unpack(file.read(end, _END.size))
    if disk or first_disk or comment:
        raise ValueError("the zip file has a comment or several parts")
    if end >= _LOCATOR.size and file.read(end - _LOCATOR.size, 4) == b"PK\6\7":
        _, disk, wide, disks = _LOCATOR.unpack(file.read(end - _LOCATOR.size, _LOCATOR.size))
        end -= _LOCATOR.size + _END64.size
        if disk or disks != 1 or wide != end:
            raise ValueError("the zip file's two ends disagree")
        small = (here, count, size, start)
        signature, rest, _, _, disk, first_disk, here, count, size, start = _END64.unpack(file.read(end, _END64.size))
        is_same = all(a in (b, 0xFFFF, _FULL) for a, b in zip(small, (here, count, size, start), strict=True))
        if signature != b"PK\6\6" or rest != _END64.size - 12 or disk or first_disk or not is_same:
            raise ValueError("the zip file's two ends disagree")
    if here != count or count > MAX_ENTRIES or size > MAX_DIRECTORY_BYTES or start + size != end:
        raise ValueError(f"a zip directory of {count:,} entries in {size:,} bytes at byte {start:,} cannot be")
    return start, end, count


def _listed(content: bytearray, start: int, count: int) -> list[_Listed]:
    """The central directory; ``start`` is where it lies."""
    listed, position = [], 0
    for _ in range(count):
        header = content[position : position + _CENTRAL.size]
        if len(header) < _CENTRAL.size or header[:4] != b"PK\1\2":
            raise ValueError(f"the zip directory is damaged at byte {start + position:,}")
        _, _, _, flags, method, _, _, crc, packed, size, name_size, extra_size, comment, disk, _, _, at = (
            _CENTRAL.unpack(header)
        )
        position += _CENTRAL.size
        name = bytes(content[position : position + name_size])
        extra = content[position + name_size : position + name_size + extra_size]
        position += name_size + extra_size
        if flags & ~(_HAS_DESCRIPTOR | _UTF8):
            raise ValueError(f"the zip entry {_shown(name)} is encrypted or of a kind unknown here")
        size, packed, at = _wide(extra, size, packed, at)
        if method or packed != size:
            raise ValueError(
                f"the zip entry {_shown(name)} is compressed, expected it stored: save it again with torch.save"
            )
        if comment or disk:
            raise ValueError(f"the zip entry {_shown(name)} has a comment or is in another part")
        listed.append(_Listed(name, flags, crc, size, at))
    if position != len(content):
        raise ValueError(f"the zip directory has {len(content) - position:,} bytes more than its entries")
    return listed


def _located(file: RawFile, entry: _Listed, following: int) -> Entry:
    """Where the entry's bytes lie; what stands before and after them must repeat what the directory says."""
    header = _LOCAL.unpack(file.read(entry.start, _LOCAL.size))
    signature, _, flags, method, _, _, crc, packed, size, name_size, extra_size = header
    rest = file.read(entry.start + _LOCAL.size, name_size + extra_size)
    size, packed = _wide(rest[name_size:], size, packed)
    offset = entry.start + _LOCAL.size + name_size + extra_size
    numbers = (entry.crc, entry.size, entry.size)
    later = flags & _HAS_DESCRIPTOR and (crc, packed, size) == (0, 0, 0)
    after = following - offset - entry.size
    tail = file.read(following - after, after) if 0 <= after <= _DESCRIPTOR64.size else None
    if (
        (signature, flags, method, rest[:name_size]) != (b"PK\3\4", entry.flags, 0, entry.name)
        or not (later or (crc, packed, size) == numbers)
        or tail not in _descriptors(flags, numbers)
    ):
        raise ValueError(f"the zip entry {_shown(entry.name)} at byte {entry.start:,} contradicts the directory")
    return Entry(offset, entry.size, entry.crc)


def _descriptors(flags: int, numbers: tuple[int, int, int]) -> list[bytes]:
    """What may follow an entry's bytes: nothing, or CRC-32 and sizes again, in numbers of 32 or 64 bits."""
    if not flags & _HAS_DESCRIPTOR:
        return [b""]
    wide = _DESCRIPTOR64.pack(b"PK\7\x08", *numbers)
    return [wide] if max(numbers) >= _FULL else [wide, _DESCRIPTOR.pack(b"PK\7\x08", *numbers)]


def _wide(extra: bytearray, *numbers: int) -> tuple[int, ...]:
    """The numbers, those that do not fit 32 bits taken from the extra field 1, in order."""
    fields = iter(_field(extra, 1))
    return tuple(next(fields, number) if number == _FULL else number for number in numbers)


def _field(extra: bytearray, wanted: int) -> tuple[int, ...]:
    """The 64-bit numbers of the extra field of this kind."""
    position = 0
    while position + 4 <= len(extra):
        kind, size = struct.unpack_from("<2H", extra, position)
        if kind == wanted and position + 4 + size <= len(extra):
            return struct.unpack_from(f"<{size // 8}Q", extra, position + 4)
        position += 4 + size
    return ()


def _shown(name: bytes) -> str:
    return repr(name[:100].decode("utf-8", "replace"))
