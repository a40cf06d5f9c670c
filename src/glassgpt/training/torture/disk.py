"""A disk that forgets: what a power cut leaves of a series of system calls, in the worst case POSIX allows.

Nothing is durable until it is synced: the content of a file by syncing the file, a name by syncing its directory. What
was not may survive or not, in any combination. Knows nothing of checkpoints.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from typing import Any

from glassgpt.training.torture.faulty import Call


@dataclass
class File:
    """Bytes as programs see them, and as the disk holds them."""

    seen: bytes = b""
    durable: bytes = b""

    def sync(self) -> None:
        self.durable = self.seen

    def after_cut(self, luck: Random | None) -> bytes:
        if luck is None or self.seen == self.durable:
            return self.durable
        torn = luck.randrange(len(self.durable), len(self.seen))
        holes = self.durable + bytes(len(self.seen) - len(self.durable))
        return luck.choice([self.durable, self.seen, self.seen[:torn], holes])


@dataclass
class Directory:
    """Names as programs see them and as the disk holds them, and the changes in between; None removes a name."""

    seen: dict[str, File | Directory] = field(default_factory=dict)
    durable: dict[str, File | Directory] = field(default_factory=dict)
    pending: list[dict[str, File | Directory | None]] = field(default_factory=list)

    def change(self, names: dict[str, File | Directory | None]) -> None:
        """Changes several names at once: all or none of it survives."""
        self.pending.append(names)
        _apply(self.seen, names)

    def sync(self) -> None:
        self.durable, self.pending = dict(self.seen), []

    def write_after_cut(self, target: Path, luck: Random | None) -> None:
        """Creates ``target`` as a power cut now would leave this directory: without ``luck``, nothing unsynced is."""
        names = dict(self.durable)
        for change in self.pending:
            if luck is not None and luck.random() < 0.5:
                _apply(names, change)
        target.mkdir()
        for name, node in names.items():
            if isinstance(node, Directory):
                node.write_after_cut(target / name, luck)
            else:
                (target / name).write_bytes(node.after_cut(luck))


class Disk:
    """The file system under ``root``, told of every call by ``watch``, which stands in front of a real storage."""

    def __init__(self, root: Path, forgotten: str | None = None) -> None:
        self.root = root
        self.forgotten = forgotten  # the call that a careless writer leaves out
        self.top = Directory()
        self._open: dict[int, File] = {}

    def watch(self, call: Call) -> Any:
        result = call.make(*call.arguments)
        if call.name != self.forgotten:
            getattr(self, f"_{call.name}")(result, *call.arguments)
        return result

    def _create(self, fd: int, path: Path) -> None:
        self._open[fd] = File()
        self._parent(path).change({path.name: self._open[fd]})

    def _write(self, count: int, fd: int, data: bytes | memoryview) -> None:
        self._open[fd].seen += bytes(data[:count])

    def _sync(self, _: None, fd: int) -> None:
        self._open[fd].sync()

    def _close(self, _: None, fd: int) -> None:
        del self._open[fd]

    def _make_directory(self, _: None, path: Path) -> None:
        self._parent(path).change({path.name: Directory()})

    def _sync_directory(self, _: None, path: Path) -> None:
        if path.is_relative_to(self.root):
            self._at(path).sync()

    def _rename(self, _: None, old: Path, new: Path) -> None:
        assert old.parent == new.parent, "the model knows renames within one directory only"
        self._parent(old).change({new.name: self._parent(old).seen[old.name], old.name: None})

    def _unlink(self, _: None, path: Path) -> None:
        self._parent(path).change({path.name: None})

    _remove_directory = _unlink

    def _at(self, path: Path) -> Directory:
        node: Any = self.top
        for part in path.relative_to(self.root).parts:
            node = node.seen[part]
        return node

    def _parent(self, path: Path) -> Directory:
        return self._at(path.parent)


def _apply(names: dict[str, Any], change: dict[str, Any]) -> None:
    names.update(change)
    for name, node in change.items():
        if node is None:
            del names[name]
