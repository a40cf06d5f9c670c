"""glassgpt verify: the whole ledger, once, and what the command prints and returns."""

import json

import torch.nn.functional as F

from glassgpt.book import chapter
from glassgpt.book.ledger import read_ledger
from glassgpt.cli.main import main


def test_the_whole_ledger_is_computed_and_holds(capsys):
    assert main(["verify", "--json"]) == 0
    results = {result["id"]: result for result in json.loads(capsys.readouterr().out)}
    assert results.keys() == read_ledger().keys()
    assert {id for id, result in results.items() if not result["holds"]} == {"seed.training-time.rtx8000"}
    assert results["seed.training-time.rtx8000"]["verdict"] == "explained"
    assert results["ch04.generate.text-6"]["got"] == {"text": "Hello, I am Featureiman Byeswickattribute argue"}


def test_a_prefix_chooses_entries_and_the_last_line_counts_them(capsys):
    assert main(["verify", "seed.training-time"]) == 0
    out = capsys.readouterr().out
    assert "665 is the text's figure" in " ".join(out.split())
    assert out.splitlines()[-1] == "1 of 2 hold, 1 explained, 0 differ"


def test_an_unknown_prefix_is_wrong_usage(capsys):
    assert main(["verify", "ch05"]) == 2
    assert "no entry of the ledger begins with 'ch05'" in capsys.readouterr().err


def test_a_mismatch_shows_both_values_and_fails(capsys, monkeypatch):
    monkeypatch.setattr(chapter.GELU, "forward", lambda self, x: F.gelu(x))
    assert main(["verify", "ch04.gelu.values"]) == 1
    out = " ".join(capsys.readouterr().out.split())
    assert "expected x [-3, -2" in out and "got x [-3, -2" in out
    assert out.endswith("0 of 1 hold, 0 explained, 1 differ")
