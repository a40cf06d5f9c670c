"""The ledger and its rules for when a value agrees."""

import math
import tomllib
from importlib.resources import files

import pytest

from glassgpt.book.ledger import Entry, read_ledger
from glassgpt.book.sections import SECTIONS


def entry(expected: object, **rule: object) -> Entry:
    fields = {"place": "", "what": "", "environments": ["any"], "source": "", "verified": True, "check": ""}
    return Entry(id="x", expected={"value": expected}, **fields, **rule)


def test_the_ledger_has_the_number_of_entries_it_says():
    ledger = tomllib.loads(files("glassgpt.book").joinpath("ledger.toml").read_text(encoding="utf-8"))
    assert len(ledger["entry"]) == len(read_ledger()) == ledger["ledger"]["entries"] == 105
    assert sum(entry.verified for entry in read_ledger().values()) == ledger["ledger"]["verified"]
    conditions = {name for entry in read_ledger().values() for name in entry.environments}
    assert conditions == set(ledger["environments"])


@pytest.mark.parametrize("id", read_ledger())
def test_every_entry_has_a_rule_and_one_section(id):
    entry = read_ledger()[id]
    assert entry.exact or entry.printed_digits is not None or entry.tolerance
    assert sum(id.startswith(prefixes) for prefixes in SECTIONS.values()) == 1


def test_a_value_agrees_when_it_rounds_to_the_printed_one():
    printed = entry([-1.2034, 0.0], printed_digits=4)
    assert printed.agrees({"value": [-1.20344, -0.00004]})
    assert not printed.agrees({"value": [-1.20346, 0.0]})


def test_meeting_either_rule_is_enough():
    either = entry(1.6755, printed_digits=4, tolerance={"atol": 1e-4})
    assert either.agrees({"value": 1.67544})  # rounds to 1.6754
    assert not either.agrees({"value": 1.6757})


def test_exact_allows_no_distance():
    assert entry(0.1, exact=True).agrees({"value": 0.1})
    assert not entry(0.1, exact=True).agrees({"value": 0.1 + 1e-12})
    assert not entry(124, printed_digits=0).agrees({"value": 125})


@pytest.mark.parametrize("got", [True, "1", None, [1], math.nan, 2])
def test_another_kind_of_value_never_agrees(got):
    assert not entry(1, exact=True).agrees({"value": got})


@pytest.mark.parametrize("got", [{"b": 2, "a": 1}, {"a": 1}, {"a": 1, "b": 2, "c": 3}])
def test_keys_and_their_order_are_part_of_the_value(got):
    assert not entry({"a": 1, "b": 2}, exact=True).agrees({"value": got})
