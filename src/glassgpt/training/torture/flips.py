"""T5: files that rotted, were cut short, swapped, lost, doubled, or are those of another checkpoint."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from random import Random

from safetensors import SafetensorError
from safetensors.numpy import load

from glassgpt.data.shards import Shards
from glassgpt.training.torture.outcome import Outcome, fault
from glassgpt.training.torture.rehearsal import Rehearsal
from glassgpt.training.torture.savers import COMMITTING, content
from glassgpt.weights.checkpoint import Checkpoint

Files = dict[str, bytes]


@fault("T5", "checkpoints with flipped bits, or files cut, swapped, lost, stale")
def damage_checkpoints(outcome: Outcome, directory: Path, trials: int, luck: Random) -> None:
    """Damages the newer of two checkpoints: it must be refused, and the older one resumed."""
    older, newer = sorted(COMMITTING.prepare(directory / "run").glob("step-*"))

    def read() -> None:
        Checkpoint.open(newer).verify()

    for what, broken in _damages(newer, _contents(older), read, trials, luck):
        outcome.check(what, broken)
    _replace(newer, _flip(_contents(newer), {}, luck))
    outcome.check("fallback", None if COMMITTING.read(newer.parent) == 1 else "the older checkpoint is not resumed")

    weights = content(1)["model.safetensors"]
    for _ in range(trials):
        outcome.check_control(_silent(weights, _flip({"weights": weights}, {}, luck)["weights"]))


@fault("T5", "tokens with flipped bits, or files cut, swapped, lost, stale")
def damage_tokens(outcome: Outcome, directory: Path, trials: int, luck: Random) -> None:
    """Damages a directory of token shards: it must be refused before it is used."""
    other, data = (Rehearsal(directory / f"{seed}", seed, steps=1).directory / "data" for seed in (1, 2))

    def read(verify: bool = True) -> None:
        for split in ("train", "val"):
            shards = Shards.open(data, split)
            shards.verify() if verify else shards.read(0, shards.num_tokens)

    for what, broken in _damages(data, _contents(other), read, trials, luck):
        outcome.check(what, broken)
    for _, broken in _damages(data, _contents(other), partial(read, verify=False), min(trials, 100), luck):
        outcome.check_control(broken)


def _damages(
    directory: Path, foreign: Files, read: Callable[[], None], trials: int, luck: Random
) -> Iterator[tuple[str, str | None]]:
    """What was done to the files of a directory, every other time a flipped bit, and what ``read`` made of it."""
    whole = _contents(directory)
    for trial in range(trials):
        kind = _flip if trial % 2 else luck.choice(KINDS)
        while (damaged := kind(dict(whole), foreign, luck)) == whole:
            continue
        _replace(directory, damaged)
        yield f"{kind.__name__.removeprefix('_')} (trial {trial})", _unnoticed(whole, damaged, read)
        _replace(directory, whole)


def _unnoticed(whole: Files, damaged: Files, read: Callable[[], None]) -> str | None:
    changed = [name for name in whole if damaged.get(name) != whole[name]]
    try:
        read()
    except (ValueError, OSError) as reason:
        named = any(name in str(reason) for name in changed)
        return None if named else f"{', '.join(changed)} was damaged, the message says: {reason}"
    return f"damage to {', '.join(changed)} was not noticed"


def _silent(whole: bytes, damaged: bytes) -> str | None:
    """The promise that a reader of safetensors without checksums breaks."""
    try:
        tensors = load(damaged)
    except (SafetensorError, ValueError, KeyError, TypeError):
        return None
    expected = load(whole)
    same = tensors.keys() == expected.keys() and all((tensors[name] == expected[name]).all() for name in expected)
    return None if same else "other weights were loaded without a word"


def _flip(files: Files, foreign: Files, luck: Random) -> Files:
    name = luck.choice(sorted(files))
    flipped = bytearray(files[name])
    flipped[luck.randrange(len(flipped))] ^= 1 << luck.randrange(8)
    return files | {name: bytes(flipped)}


def _cut(files: Files, foreign: Files, luck: Random) -> Files:
    name = luck.choice(sorted(files))
    return files | {name: files[name][: luck.randrange(len(files[name]))]}


def _zero_tail(files: Files, foreign: Files, luck: Random) -> Files:
    name = luck.choice(sorted(files))
    start = luck.randrange(len(files[name]))
    return files | {name: files[name][:start] + bytes(len(files[name]) - start)}


def _swap(files: Files, foreign: Files, luck: Random) -> Files:
    one, other = luck.sample(sorted(files), 2)
    return files | {one: files[other], other: files[one]}


def _lose(files: Files, foreign: Files, luck: Random) -> Files:
    del files[luck.choice(sorted(files))]
    return files


def _double(files: Files, foreign: Files, luck: Random) -> Files:
    one, other = luck.sample(sorted(files), 2)
    return files | {one: files[other]}


def _bring_back(files: Files, foreign: Files, luck: Random) -> Files:
    name = luck.choice(sorted(name for name in files if files[name] != foreign[name]))
    return files | {name: foreign[name]}


KINDS: list[Callable[[Files, Files, Random], Files]] = [_cut, _zero_tail, _swap, _lose, _double, _bring_back]


def _contents(directory: Path) -> Files:
    return {p.relative_to(directory).as_posix(): p.read_bytes() for p in directory.rglob("*") if p.is_file()}


def _replace(directory: Path, files: Files) -> None:
    """Makes the files of a directory these."""
    before = _contents(directory)
    for name in before.keys() - files.keys():
        (directory / name).unlink()
    for name, data in files.items():
        if before.get(name) != data:
            (directory / name).write_bytes(data)
