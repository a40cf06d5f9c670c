"""T5: files that rotted, were cut short, swapped, lost, doubled or brought back from an older checkpoint."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from random import Random

from safetensors import SafetensorError
from safetensors.numpy import load

from glassgpt.training.torture.outcome import Outcome, fault
from glassgpt.training.torture.savers import COMMITTING
from glassgpt.weights.checkpoint import Checkpoint

Files = dict[str, bytes]


@fault("T5", "flipped bits, and files cut, zeroed, swapped, lost, doubled or stale")
def damage(outcome: Outcome, directory: Path, trials: int, luck: Random) -> None:
    """Damages the newer of two checkpoints ``trials`` times; half of the trials flip one bit."""
    older, newer = sorted(COMMITTING.prepare(directory / "run").glob("step-*"))
    old, whole = _read(older), _read(newer)
    for trial in range(trials):
        kind = _flip if trial % 2 else luck.choice(KINDS)
        damaged = kind(dict(whole), old, luck)
        _replace(newer, whole, damaged)
        outcome.check(f"{kind.__name__.removeprefix('_')} (trial {trial})", _broken(newer, whole, damaged))
        _replace(newer, damaged, whole)
        outcome.check_control(_silent(_flip({"model": whole["model.safetensors"]}, {}, luck)["model"], whole))


def _broken(checkpoint: Path, whole: Files, damaged: Files) -> str | None:
    changed = [name for name in whole if damaged.get(name) != whole[name]]
    try:
        Checkpoint.open(checkpoint).verify()
        return f"damage to {', '.join(changed)} was not noticed"
    except ValueError as reason:
        if not any(name in str(reason) for name in changed):
            return f"{', '.join(changed)} was damaged, the message says: {reason}"
    if (step := COMMITTING.read(checkpoint.parent)) != 1:
        return f"step {step} is resumed instead of the older checkpoint"
    return None


def _silent(model: bytes, whole: Files) -> str | None:
    """The promise that a reader without checksums breaks."""
    try:
        load(model)
    except (SafetensorError, ValueError, KeyError, TypeError):
        return None
    return "other weights were loaded without a word"


def _flip(files: Files, old: Files, luck: Random) -> Files:
    name = luck.choice(sorted(files))
    content = bytearray(files[name])
    content[luck.randrange(len(content))] ^= 1 << luck.randrange(8)
    return files | {name: bytes(content)}


def _cut(files: Files, old: Files, luck: Random) -> Files:
    name = luck.choice(sorted(files))
    return files | {name: files[name][: luck.randrange(len(files[name]))]}


def _zero_tail(files: Files, old: Files, luck: Random) -> Files:
    name = luck.choice(sorted(files))
    start = luck.randrange(len(files[name]))
    return files | {name: files[name][:start] + bytes(len(files[name]) - start)}


def _swap(files: Files, old: Files, luck: Random) -> Files:
    one, other = luck.sample(sorted(files), 2)
    return files | {one: files[other], other: files[one]}


def _lose(files: Files, old: Files, luck: Random) -> Files:
    del files[luck.choice(sorted(files))]
    return files


def _double(files: Files, old: Files, luck: Random) -> Files:
    one, other = luck.sample(sorted(files), 2)
    return files | {one: files[other]}


def _bring_back(files: Files, old: Files, luck: Random) -> Files:
    name = luck.choice(sorted(name for name in files if files[name] != old[name]))
    return files | {name: old[name]}


KINDS: list[Callable[[Files, Files, Random], Files]] = [_cut, _zero_tail, _swap, _lose, _double, _bring_back]


def _read(checkpoint: Path) -> Files:
    return {p.relative_to(checkpoint).as_posix(): p.read_bytes() for p in checkpoint.rglob("*") if p.is_file()}


def _replace(checkpoint: Path, before: Files, after: Files) -> None:
    for name in before.keys() | after.keys():
        if name not in after:
            (checkpoint / name).unlink()
        elif before.get(name) != after[name]:
            (checkpoint / name).write_bytes(after[name])
