"""One small change to a valid file: of bytes anywhere, or of what they mean, with lengths and checksums made right
again so that the change gets past the first gate."""

from __future__ import annotations

import io
import json
import pickle
import struct
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path
from random import Random
from typing import Any

from glassgpt.weights.sorted_table import read_table, table
from glassgpt.weights.untrusted import RawFile
from glassgpt.weights.wire import TEXT, VARINT, message, parse

NUMBERS = [0, 1, 2, 3, 4, 7, 8, 63, 64, 127, 128, 255, 256, 4096, 65535, 65536, 2**20, 2**31 - 1, 2**31, 2**32 - 1,
           2**40, 2**63 - 1, 2**63, 2**64 - 1]  # fmt: skip
TEXTS = ["", ".", "..", "../x", "/etc/passwd", "a\0b", "model/wte", "F32", "I64", "\ud7ff", "é", "9" * 30, "x" * 300]


BROKEN = (ValueError, LookupError, struct.error, RecursionError, NotImplementedError, EOFError, zipfile.BadZipFile,
          zlib.error)  # fmt: skip


def mutated(random: Random, content: bytes, name: str, folder: Path) -> bytes:
    """``content`` of the file ``name``, changed; ``folder`` is a place for a temporary file."""
    changes = [_bytes, *_MEANING.get(Path(name).suffix, [])]
    for _ in range(random.choice([1, 1, 1, 2, 4])):
        try:
            content = random.choice(changes)(random, content, folder)
        except BROKEN:
            content = _bytes(random, content, folder)  # an earlier change broke the structure
    return content


def _bytes(random: Random, content: bytes, folder: Path) -> bytes:
    """Any of the changes that know nothing of formats; often near the beginning, where headers are."""
    data = bytearray(content)
    at = random.randrange(min(len(data), random.choice([16, 256, len(data)])) + 1) if data else 0
    if random.random() < 0.2:
        at = max(0, len(data) - random.randrange(1, 120))
    length = random.choice([1, 1, 2, 4, 8, 16, 100])
    match random.randrange(9):
        case 0 if data:
            data[min(at, len(data) - 1)] ^= 1 << random.randrange(8)
        case 1:
            data[at : at + length] = random.randbytes(length)
        case 2:
            data[at:at] = random.randbytes(length)
        case 3:
            del data[at : at + length]
        case 4:
            data[at : at + length] = bytes([random.choice([0, 255, 127, 128])]) * length
        case 5:
            data[at:at] = data[at : at + length] * random.choice([1, 2, 50])
        case 6:
            del data[at:]
        case 7:
            size = random.choice([1, 2, 4, 8])
            data[at : at + size] = (random.choice(NUMBERS) % 256**size).to_bytes(size, "little")
        case _:
            other = random.randrange(len(data) + 1)
            data[at : at + length], data[other : other + length] = (
                data[other : other + length],
                data[at : at + length],
            )
    return bytes(data)


def _json(random: Random, content: bytes, folder: Path) -> bytes:
    """One value of a JSON file replaced, dropped, doubled or wrapped."""
    return json.dumps(_tree(random, json.loads(content))).encode("utf-8", "surrogatepass")


def _tree(random: Random, value: Any) -> Any:
    """The value with one node of it changed."""
    if isinstance(value, dict | list) and value and random.random() < 0.8:
        key = random.choice(list(value) if isinstance(value, dict) else range(len(value)))
        if isinstance(value, dict) and random.random() < 0.2:
            return {(random.choice(TEXTS) if each == key else each): value[each] for each in value}
        if random.random() < 0.1:
            del value[key]
        else:
            value[key] = _tree(random, value[key])
        return value
    if isinstance(value, int) and random.random() < 0.5:
        return value + random.choice([-1, 1, 2**32])
    plain: list[Any] = [None, True, 1.5, -1, 1e400, [], {}, [value] * 3, {"a": value}, [[[[value]]]]]
    return random.choice([*plain, random.choice(NUMBERS), -random.choice(NUMBERS), random.choice(TEXTS)])


def _safetensors(random: Random, content: bytes, folder: Path) -> bytes:
    """The header's JSON changed, its length right."""
    length = int.from_bytes(content[:8], "little")
    header = _json(random, content[8 : 8 + length], folder)
    return len(header).to_bytes(8, "little") + header + content[8 + length :]


def _integers(random: Random, content: bytes, folder: Path) -> bytes:
    """One of llm.c's first integers."""
    at = 4 * random.randrange(9)
    return content[:at] + (random.choice(NUMBERS) % 2**32).to_bytes(4, "little") + content[at + 4 :]


def _message(random: Random, content: bytes, folder: Path) -> bytes:
    """A field of a Protocol Buffers message changed, or of a message inside, every length right."""
    fields = parse(content)
    at = random.randrange(len(fields))
    number, value = fields[at]
    match random.randrange(10):
        case 0:
            del fields[at]
        case 1:
            fields.insert(at, fields[at])
        case 2:
            fields[at] = (random.choice([1, 2, 5, 7, 8, 9, 13, 99]), value)
        case _:
            if isinstance(value, int):
                value = random.choice(NUMBERS)
            else:
                value = random.choice([_message, _bytes])(random, value, folder) if value else b"x"
            fields[at] = (number, value)
    return message((number, VARINT if isinstance(value, int) else TEXT, value) for number, value in fields)


def _table(random: Random, content: bytes, folder: Path) -> bytes:
    """A key or a value of TensorFlow's index, every CRC right."""
    (folder / "index").write_bytes(content)
    items = read_table(RawFile(folder / "index"))
    at = random.randrange(len(items))
    key, value = items[at]
    match random.randrange(6):
        case 0:
            items[at] = (_bytes(random, key, folder), value)
        case 1:
            del items[at]
        case 2:
            items.insert(at, (key + b"x", value))
        case _:
            items[at] = (key, _bytes(random, value, folder))
    return table(sorted(items) if random.random() < 0.8 else items)


def _zip(random: Random, content: bytes, folder: Path) -> bytes:
    """One entry of a zip changed, its CRC right; at times the entries' names or their compression."""
    out = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(content)) as old, zipfile.ZipFile(out, "w") as new:
        names = old.namelist()
        chosen = random.choice([names[0], random.choice(names)])
        how = random.randrange(8)
        for name in names:
            entry = old.read(name)
            if name != chosen:
                new.writestr(name, entry)
            elif how == 0:
                new.writestr(random.choice(TEXTS) or "x", entry)
            elif how == 1:
                new.writestr(name, entry, zipfile.ZIP_DEFLATED)
            elif how == 2:
                continue
            else:
                change = _pickle if name.endswith(".pkl") and how < 7 else _bytes
                new.writestr(name, change(random, entry, folder))
    return out.getvalue()


GADGETS = [
    b"cposix\nsystem\n", b"cbuiltins\neval\n", b"c__builtin__\nexec\n", b"ctorch\nload\n", b"cos\nremove\n",
    b"X\x01\x00\x00\x00a\x85R", b"(X\x02\x00\x00\x00idiposix\nsystem\n", b")\x81", b"}b", b"o", b"R", b"\x82\x01",
    b"\x8c\x05posix\x8c\x06system\x93", b"ctorch\nFloatStorage\n", b"ccollections\nOrderedDict\n", b"Q", b"(", b"t",
    b"u", b"s", b"e", b"a", b")", b"]", b"}", b"\x85", b"\x86", b"\x87", b"h\x00", b"q\x00", b"\x94", b".", b"N", b"0",
]  # fmt: skip


def _pickle(random: Random, content: bytes, folder: Path) -> bytes:
    """Instructions put into a pickle, or one of its numbers or texts replaced."""
    at = random.randrange(len(content) + 1)
    match random.randrange(4):
        case 0:
            return content[:at] + random.choice(GADGETS) + content[at:]
        case 1:
            return content[:at] + random.choice(GADGETS) + content[at + random.randrange(8) :]
        case 2:
            numbers = [i for i, byte in enumerate(content) if byte in b"KMJ"]
            at = random.choice(numbers)
            value = pickle.dumps(random.choice([*NUMBERS, -1, 1.5, None, True, "x", ()]), 2)[2:-1]
            return content[:at] + value + content[at + {75: 2, 77: 3, 74: 5}[content[at]] :]
        case _:
            return _bytes(random, content, folder)


Change = Callable[[Random, bytes, Path], bytes]
_MEANING: dict[str, list[Change]] = {
    ".json": [_json], ".safetensors": [_safetensors] * 2, ".index": [_table] * 2, ".pt": [_zip] * 2, ".pth": [_zip] * 2,
    ".bin": [_zip, _integers], ".onnx": [_message] * 2,
}  # fmt: skip
