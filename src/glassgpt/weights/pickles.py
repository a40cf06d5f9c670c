"""A pickle of a state dict, described and never executed: no import, no call, no object but plain data.

A pickle is a program for a small stack machine. This one knows the few instructions that ``torch.save`` needs for
dictionaries, numbers, texts and tensors; a tensor becomes a note of where its elements lie. Everything else is refused
by name. Knows nothing of the file around the stream. Source: CPython's pickletools.py
"""

from __future__ import annotations

import struct
from collections import OrderedDict
from collections.abc import Callable
from typing import Any

from glassgpt.weights.torch_objects import CALLS, Global, known, storage_of

MAX_BYTES = 16 * 2**20
MAX_STEPS = 2**18  # a checkpoint of GPT-2 XL with its optimizer takes 90,000
MAX_STACK = 10_000
MAX_MARKS = 64


def describe(stream: bytes | bytearray) -> Any:
    """The plain data a pickle stands for, with a StoredTensor for each tensor.

    Raises:
        ValueError: the stream is damaged, larger than a state dict's, or does something no state dict needs; names the
            instruction or the name, and the byte.
    """
    if len(stream) > MAX_BYTES:
        raise ValueError(f"its pickle has {len(stream):,} bytes, expected at most {MAX_BYTES:,}")
    machine = _Machine(bytes(stream))
    try:
        return machine.run()
    except IndexError:
        raise ValueError(f"its pickle is damaged at byte {machine.start:,}") from None
    except ValueError as error:
        raise ValueError(f"at byte {machine.start:,} of its pickle: {error}") from None


class _Machine:
    """The stack machine. Its methods are the instructions, found by their byte in ``_INSTRUCTIONS``."""

    def __init__(self, stream: bytes):
        self.stream = stream
        self.position = self.start = 0
        self.stack: list[Any] = []
        self.marks: list[int] = []  # heights of the stack
        self.memo: dict[int, Any] = {}

    def run(self) -> Any:
        for _ in range(MAX_STEPS):
            self.start = self.position
            code = self.stream[self.position]
            self.position += 1
            if code == ord("."):
                if len(self.stack) != 1 or self.marks or self.position != len(self.stream):
                    raise ValueError("it ends with something left over")
                return self.stack.pop()
            if (instruction := _INSTRUCTIONS.get(code)) is None:
                raise ValueError(f"the instruction {_MAKERS.get(code, hex(code))} has no place in a state dict")
            instruction(self)
            if len(self.stack) > MAX_STACK or len(self.marks) > MAX_MARKS:
                raise ValueError("its stack grows beyond what a state dict needs")
        raise ValueError(f"it takes more than {MAX_STEPS:,} instructions")

    # Reading the stream

    def take(self, length: int) -> bytes:
        end = self.position + length
        if end > len(self.stream):
            raise IndexError
        piece, self.position = self.stream[self.position : end], end
        return piece

    def number(self, code: str) -> Any:
        return struct.unpack(code, self.take(struct.calcsize(code)))[0]

    def line(self) -> str:
        end = self.stream.find(b"\n", self.position, self.position + 1000)
        if end < 0:
            raise IndexError
        piece, self.position = self.stream[self.position : end], end + 1
        return piece.decode("ascii")

    # The stack

    def push(self, value: Any) -> None:
        self.stack.append(value)

    def pop_from(self, height: int) -> list[Any]:
        """What was pushed above ``height``, which must be the part after the last mark."""
        if not (self.marks[-1] if self.marks else 0) <= height <= len(self.stack):
            raise IndexError
        values = self.stack[height:]
        del self.stack[height:]
        return values

    def pop(self, count: int) -> list[Any]:
        return self.pop_from(len(self.stack) - count)

    def pop_marked(self) -> list[Any]:
        return self.pop_from(self.marks.pop())

    def top(self, kind: type) -> Any:
        if not isinstance(top := self.stack[-1], kind):
            raise ValueError(f"something is added to a {type(top).__name__}")
        return top

    # Instructions that need more than a line

    def extend(self, values: list[Any]) -> None:
        self.top(list).extend(values)

    def update(self, values: list[Any]) -> None:
        target, keys = self.top(dict), values[::2]
        if len(values) % 2:
            raise IndexError
        for key in keys:
            if type(key) not in (str, int):  # others may be nested as deep as the stream is long, and are hashed in C
                raise ValueError(f"a dictionary has a {type(key).__name__} as a key, expected text or an integer")
        target.update(zip(keys, values[1::2], strict=True))

    def remember(self, index: int) -> None:
        self.memo[index] = self.stack[-1]

    def recall(self, index: int) -> None:
        if index not in self.memo:
            raise IndexError
        self.push(self.memo[index])

    def name_pushed(self) -> None:
        module, name = self.pop(2)
        if not isinstance(module, str) or not isinstance(name, str):
            raise ValueError("a name is put together from something else than text")
        self.push(known(Global(module, name)))

    def reduce(self) -> None:
        function, arguments = self.pop(2)
        if not isinstance(function, Global) or not isinstance(arguments, tuple) or function not in CALLS:
            raise ValueError(f"{str(function) if isinstance(function, Global) else 'a value'} is called")
        self.push(CALLS[function](arguments))

    def build(self) -> None:
        """A state dict carries ``_metadata`` as an attribute, which nothing here needs."""
        self.pop(1)
        self.top(OrderedDict)

    def persistent(self) -> None:
        self.push(storage_of(self.pop(1)[0]))


_INSTRUCTIONS: dict[int, Callable[[_Machine], Any]] = {
    ord(code): instruction
    for code, instruction in {
        "\x80": lambda m: m.take(1),  # PROTO
        "\x95": lambda m: m.take(8),  # FRAME
        "(": lambda m: m.marks.append(len(m.stack)),
        "N": lambda m: m.push(None),
        "\x88": lambda m: m.push(True),
        "\x89": lambda m: m.push(False),
        "K": lambda m: m.push(m.number("<B")),  # BININT1
        "M": lambda m: m.push(m.number("<H")),  # BININT2
        "J": lambda m: m.push(m.number("<i")),  # BININT
        "\x8a": lambda m: m.push(int.from_bytes(m.take(m.number("<B")), "little", signed=True)),  # LONG1
        "G": lambda m: m.push(m.number(">d")),  # BINFLOAT
        "X": lambda m: m.push(m.take(m.number("<I")).decode("utf-8")),  # BINUNICODE
        "\x8c": lambda m: m.push(m.take(m.number("<B")).decode("utf-8")),  # SHORT_BINUNICODE
        "}": lambda m: m.push({}),
        "]": lambda m: m.push([]),
        ")": lambda m: m.push(()),
        "\x85": lambda m: m.push(tuple(m.pop(1))),  # TUPLE1
        "\x86": lambda m: m.push(tuple(m.pop(2))),
        "\x87": lambda m: m.push(tuple(m.pop(3))),
        "t": lambda m: m.push(tuple(m.pop_marked())),
        "a": lambda m: m.extend(m.pop(1)),  # APPEND
        "e": lambda m: m.extend(m.pop_marked()),  # APPENDS
        "s": lambda m: m.update(m.pop(2)),  # SETITEM
        "u": lambda m: m.update(m.pop_marked()),  # SETITEMS
        "q": lambda m: m.remember(m.number("<B")),  # BINPUT
        "r": lambda m: m.remember(m.number("<I")),  # LONG_BINPUT
        "\x94": lambda m: m.remember(len(m.memo)),  # MEMOIZE
        "h": lambda m: m.recall(m.number("<B")),  # BINGET
        "j": lambda m: m.recall(m.number("<I")),  # LONG_BINGET
        "c": lambda m: m.push(known(Global(m.line(), m.line()))),  # GLOBAL
        "\x93": _Machine.name_pushed,  # STACK_GLOBAL
        "R": _Machine.reduce,
        "b": _Machine.build,
        "Q": _Machine.persistent,
    }.items()
}

# Those that make objects of any class, for the message.
_MAKERS = {
    ord("i"): "INST", ord("o"): "OBJ", 0x81: "NEWOBJ", 0x92: "NEWOBJ_EX", 0x82: "EXT1", 0x83: "EXT2", 0x84: "EXT4",
}  # fmt: skip
