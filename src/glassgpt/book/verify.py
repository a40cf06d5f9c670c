"""Runs the conformance ledger: every entry is computed, compared by its own rule, and judged. Prints nothing."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor

from glassgpt.book.dropout import DEFAULT, MKL, own_sampler
from glassgpt.book.ledger import Entry, read_ledger
from glassgpt.book.sections import SECTIONS
from glassgpt.book.sections.shared import Chapter

REPLAYED = {
    DEFAULT: "computed with the dropout masks of PyTorch's own sampler; this machine draws others",
    MKL: "computed with the dropout masks of an Intel CPU; this machine draws others",
}


@dataclass(frozen=True)
class Result:
    """A ledger entry, the value computed for it, and what to make of the two.

    A value that holds agrees by the entry's rule; one that is explained does not, for the reason in ``remark``.
    """

    entry: Entry
    got: dict[str, Any]
    verdict: Literal["holds", "explained", "differs"]
    remark: str = ""


def verify(prefix: str = "") -> Iterator[Result]:
    """Computes the entries whose id begins with ``prefix`` and yields each as soon as its section is done.

    The global random state is left as it was.

    Raises:
        ValueError: no id begins so.
    """
    entries = select(prefix)
    run = Chapter()
    for section, prefixes in SECTIONS.items():
        if wanted := [entry for entry in entries if entry.id.startswith(prefixes)]:
            with torch.random.fork_rng(devices=[]):
                values = section(run)
            for entry in wanted:
                yield judge(entry, plain(values[entry.id]))


def select(prefix: str) -> list[Entry]:
    """The entries whose id begins with ``prefix``.

    Raises:
        ValueError: no id begins so.
    """
    entries = [entry for entry in read_ledger().values() if entry.id.startswith(prefix)]
    if not entries:
        raise ValueError(f"no entry of the ledger begins with {prefix!r}: try seed., ch04., params. or gpt3.")
    return entries


def judge(entry: Entry, got: dict[str, Any]) -> Result:
    """The verdict on a computed value."""
    if entry.agrees(got):
        others = [REPLAYED[name] for name in entry.environments if name in REPLAYED and name != own_sampler()]
        return Result(entry, got, "holds", " ".join(others))
    reason = explanation(entry, got)
    return Result(entry, got, "explained" if reason else "differs", reason)


def explanation(entry: Entry, got: dict[str, Any]) -> str:
    """Why a value that does not agree is right all the same, or nothing if it is wrong."""
    if entry.id == "seed.training-time.rtx8000":
        _, _, years, julian_years = read_ledger()["derived.training-time"].expected["flops_3_14e23"]
        if got == {"years": years}:
            return f"665 is the text's figure; its inputs give {years} years, or {julian_years} of 365.25 days"
    if "torch-version" in entry.environments:
        return "a name inside PyTorch, which may change with its version"
    if "cpu-init" in entry.environments and not draws_as_in_the_chapter():
        return "this build of PyTorch draws other random numbers from the same seed"
    return ""


def draws_as_in_the_chapter() -> bool:
    """Whether seed 123 gives the chapter's normal and uniform numbers here, with no code but PyTorch's own."""
    ledger = read_ledger()
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(123)
        normal = torch.randn(16)[:3]
        torch.manual_seed(123)
        uniform = torch.rand(16)[:3]
    expected = (
        ledger["ch04.dummy.init"].expected["tok_emb.weight"][:3] + ledger["ch04.block.input"].expected["values"][:3]
    )
    return torch.allclose(torch.cat((normal, uniform)), torch.tensor(expected), atol=1e-4)


def plain(value: Any) -> Any:
    """Tensors and shapes as numbers and lists, inside dictionaries too."""
    if isinstance(value, Tensor):
        return value.tolist()
    if isinstance(value, dict):
        return {key: plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(item) for item in value]
    return value
