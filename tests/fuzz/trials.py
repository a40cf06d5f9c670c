"""Hostile files opened one after the other in a watched process: what crashes, hangs, or does what no reader may.

The audit hook sees every import, compilation, process, socket and opened file of the interpreter; while a file is being
read, nothing but reading below its own folder is allowed.
"""

from __future__ import annotations

import logging
import os
import resource
import signal
import sys
import tempfile
import traceback
import warnings
from collections import Counter
from collections.abc import Callable
from contextlib import contextmanager, suppress
from pathlib import Path
from random import Random

import torch
from mutations import mutated
from seeds import Files, seed

from glassgpt.weights.formats import FORMATS, format_named, open_model

HANG = 5.0  # seconds
ROOM = 256 * 2**20  # bytes of address space beyond what the process has
ALLOWED = {"open", "os.listdir", "os.scandir"}
WATCHED = (
    "open", "exec", "compile", "import", "os.", "subprocess.", "socket.", "ctypes.", "pickle.", "marshal.", "shutil.",
    "mmap.", "code.", "urllib.", "tempfile.", "glob.", "cpython.", "sys.addaudithook", "sys.settrace", "webbrowser.",
)  # fmt: skip

Reader = Callable[[Path], object]

FORMS = list(map(format_named, FORMATS))  # imported before any hook listens


class Hang(BaseException):
    """The time is up. No reader catches it by accident."""


class Watch:
    """The audit hook, armed only while a reader runs."""

    def __init__(self) -> None:
        self.folder: str | None = None
        self.hits: list[str] = []
        sys.addaudithook(self._hear)

    def _hear(self, event: str, arguments: tuple) -> None:
        if self.folder is None or not event.startswith(WATCHED):
            return
        if event in ALLOWED and str(arguments[0]).startswith(self.folder):
            mode, flags = arguments[1:3] if event == "open" else ("r", 0)
            if set(mode or "r") <= set("rb") and not (flags or 0) & (os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC):
                return
        self.hits.append(f"{event} {arguments!r:.200}")

    @contextmanager
    def over(self, folder: Path):
        self.hits = []
        self.folder = str(folder)
        try:
            yield
        finally:
            self.folder = None


def read_everything(path: Path) -> object:
    """Opens a model and reads every tensor."""
    return list(open_model(path).tensors.values())


def run(kind: str, cases: range, base: int, reader: Reader = read_everything) -> tuple[Counter[str], list[str]]:
    """Tries mutation number ``case`` of a kind of file, for every one of ``cases``; returns counts and failures."""
    logging.disable()
    warnings.simplefilter("ignore")  # a mutated zip may have a name twice
    torch.set_num_threads(1)
    files, target = seed(kind)
    counts: Counter[str] = Counter()
    failures: list[str] = []
    with tempfile.TemporaryDirectory(dir="/dev/shm" if Path("/dev/shm").is_dir() else None) as name:
        folder = Path(name)
        work, spare = folder / "work", folder / "spare"
        work.mkdir()
        spare.mkdir()
        write(work, files, {})
        with suppress(Exception):
            reader(work / target)  # what is imported late is imported now
        limit_memory()
        watch = Watch()
        before = files
        for case in cases:
            now = hostile(Random(f"{base} {kind} {case}"), files, spare)
            write(work, now, before)
            before = now
            outcome, detail = attempt(reader, work / target, watch, work)
            counts[outcome] += 1
            if outcome not in ("accepted", "refused"):
                failures.append(f"{kind} --seed {base} --case {case}: {outcome}: {detail}")
    return counts, failures


def hostile(random: Random, files: Files, spare: Path) -> Files:
    """The files with one of them changed, or lost, or put in another's place."""
    names = sorted(files)
    name = random.choice(names)
    how = random.random()
    if how < 0.01:
        return {each: content for each, content in files.items() if each != name}
    if how < 0.02:
        return {**files, name: files[random.choice(names)]}
    return {**files, name: mutated(random, files[name], name, spare)}


def write(folder: Path, files: Files, before: Files) -> None:
    """Brings the folder from one set of files to another."""
    for name in before.keys() - files.keys():
        (folder / name).unlink()
    for name, content in files.items():
        if before.get(name) is not content:
            (folder / name).parent.mkdir(exist_ok=True)
            (folder / name).write_bytes(content)


def attempt(reader: Reader, path: Path, watch: Watch, folder: Path) -> tuple[str, str]:
    """One reading, and what came of it: accepted, refused, crash, hang, audit or message."""
    signal.signal(signal.SIGALRM, _ring)
    signal.setitimer(signal.ITIMER_REAL, HANG)
    try:
        with watch.over(folder):
            reader(path)
        outcome, detail = "accepted", ""
    except Hang:
        outcome, detail = "hang", f"more than {HANG} s"
    except (ValueError, FileNotFoundError) as error:
        outcome, detail = "refused", str(error)
        if type(error) is ValueError and ("\n" in detail or str(folder) not in detail or len(detail) > 2000):
            outcome = "message"  # a refusal is one line and names the file
    except BaseException as error:
        outcome, detail = "crash", "".join(traceback.format_exception_only(error)).strip()
        detail += "".join(traceback.format_tb(error.__traceback__)[-1:]).replace("\n", " ")
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
    if watch.hits:
        return "audit", "; ".join(watch.hits[:3])
    return outcome, detail


def limit_memory() -> None:
    """Allows this process what it has and ROOM more; beyond it allocations fail."""
    pages = int(Path("/proc/self/statm").read_text().split()[0])
    limit = pages * resource.getpagesize() + ROOM
    resource.setrlimit(resource.RLIMIT_AS, (limit, resource.getrlimit(resource.RLIMIT_AS)[1]))


def _ring(signum: int, frame: object) -> None:
    raise Hang
