"""The conformance ledger: what chapter 4 states or prints, and when a computed value agrees. Computes nothing itself.

The entries are in ``ledger.toml``, which explains its fields.
"""

from __future__ import annotations

import math
import tomllib
from importlib.resources import files
from typing import Any

from pydantic import BaseModel, ConfigDict


class Entry(BaseModel):
    """One entry: what is claimed, under which conditions, and how close a value must come."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    id: str
    place: str
    what: str
    expected: dict[str, Any]
    environments: list[str]
    source: str
    verified: bool
    check: str
    how: dict[str, Any] = {}
    layout: str = ""
    note: str = ""
    exact: bool = False
    printed_digits: int | None = None
    tolerance: dict[str, float] = {}

    def agrees(self, got: Any) -> bool:
        """Whether the computed value is the expected one, by this entry's own rule."""
        return self._same(self.expected, got)

    def _same(self, expected: Any, got: Any) -> bool:
        if isinstance(expected, dict):
            # The order of keys counts: that of the configuration is part of what the chapter prints.
            return (
                isinstance(got, dict)
                and list(got) == list(expected)
                and all(self._same(value, got[key]) for key, value in expected.items())
            )
        if isinstance(expected, list):
            return isinstance(got, list) and len(got) == len(expected) and all(map(self._same, expected, got))
        if isinstance(expected, float) or isinstance(got, float):
            return isinstance(got, (int, float)) and self._near(expected, got)
        return type(got) is type(expected) and got == expected

    def _near(self, expected: float, got: float) -> bool:
        if self.printed_digits is not None and round(got, self.printed_digits) == expected:
            return True
        return math.isclose(
            got, expected, rel_tol=self.tolerance.get("rtol", 0.0), abs_tol=self.tolerance.get("atol", 0.0)
        )


def read_ledger() -> dict[str, Entry]:
    """The entries by id, in the ledger's order."""
    ledger = tomllib.loads(files("glassgpt.book").joinpath("ledger.toml").read_text(encoding="utf-8"))
    return {entry["id"]: Entry(**entry) for entry in ledger["entry"]}
