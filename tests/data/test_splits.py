"""Validation is told from training by what a document says, so that no copy of it is on the other side."""

import json
from collections.abc import Iterable
from pathlib import Path

import pytest

from glassgpt.data.documents import pieces
from glassgpt.data.manifest import Split
from glassgpt.data.splits import HASHED, first_rule, second_rule


def jsonl(path: Path, texts: Iterable[str]) -> Path:
    path.write_text("".join(json.dumps({"text": text}) + "\n" for text in texts))
    return path


def divided(path: Path, fraction: float, rule=first_rule) -> dict[Split, list[str]]:
    sides: dict[Split, list[str]] = {"train": [], "val": []}
    for split, piece in rule([path], "text", fraction).assign(pieces(path)):
        sides[split].append(piece.text)
    return sides


def test_a_share_of_the_documents_is_for_validation(tmp_path: Path):
    texts = [f"document {i}" for i in range(5000)]
    sides = divided(jsonl(tmp_path / "a.jsonl", texts), 0.1)
    assert 430 < len(sides["val"]) < 570
    assert sorted(sides["train"] + sides["val"]) == sorted(texts)
    assert divided(tmp_path / "a.jsonl", 0.0)["val"] == []


def test_the_side_depends_on_the_document_alone(tmp_path: Path):
    texts = [f"document {i}" for i in range(500)]
    val = set(divided(jsonl(tmp_path / "a.jsonl", texts), 0.1)["val"])
    assert set(divided(jsonl(tmp_path / "b.jsonl", reversed(texts)), 0.1)["val"]) == val
    assert set(divided(jsonl(tmp_path / "c.jsonl", texts), 0.05)["val"]) < val


def test_copies_are_on_the_same_side(tmp_path: Path):
    long = "x" * HASHED
    sides = divided(jsonl(tmp_path / "a.jsonl", [f"document {i % 50}" for i in range(500)]), 0.2)
    assert sides["val"] and not set(sides["train"]) & set(sides["val"])
    ends = divided(jsonl(tmp_path / "b.jsonl", [f"{long} and an end {i}" for i in range(50)]), 0.5)
    assert not ends["train"] or not ends["val"]  # alike for 65,536 characters is alike


def test_one_text_is_cut_after_a_line(tmp_path: Path):
    lines = [f"line {i}\n" for i in range(1000)]
    (tmp_path / "a.txt").write_text("".join(lines))
    sides = divided(tmp_path / "a.txt", 0.1)
    [train], [val] = sides["train"], sides["val"]
    assert train + val == "".join(lines)
    assert train.endswith("\n") and 0.09 < len(val) / len(train + val) < 0.11


@pytest.mark.parametrize("text", ["ab " * 100, "ab " * 99 + "ab\n"])
def test_a_text_of_one_line_is_cut_inside_it(tmp_path: Path, text: str):
    (tmp_path / "a.txt").write_text(text)
    sides = divided(tmp_path / "a.txt", 0.25)
    assert [len(*sides["train"]), len(*sides["val"])] == [225, 75]


def test_a_long_text_is_cut_in_the_right_piece(tmp_path: Path):
    text = "A line of a long text.\n" * 200_000  # 4.6 MB, several pieces
    (tmp_path / "a.txt").write_text(text)
    rule = first_rule([tmp_path / "a.txt"], "text", 0.1)
    labelled = list(rule.assign(pieces(tmp_path / "a.txt")))
    assert "".join(piece.text for _, piece in labelled) == text
    starts = [split for split, piece in labelled if piece.is_start]
    assert starts == ["train", "val"]
    val = sum(len(piece.text) for split, piece in labelled if split == "val")
    assert val == pytest.approx(len(text) * 0.1, abs=50)


def test_of_a_few_documents_the_one_with_the_smallest_hash_is_for_validation(tmp_path: Path):
    path = jsonl(tmp_path / "a.jsonl", ["one", "two", "three", "two"])
    sides = divided(path, 0.0001, second_rule)
    assert len(set(sides["val"])) == 1
    assert not set(sides["train"]) & set(sides["val"])


def test_a_single_record_is_cut(tmp_path: Path):
    sides = divided(jsonl(tmp_path / "a.jsonl", ["line\n" * 100]), 0.1, second_rule)
    assert [len(*sides["train"]), len(*sides["val"])] == [455, 45]


@pytest.mark.parametrize("fraction", [-0.1, 1, 1.5, float("nan")])
def test_an_impossible_share_is_refused(tmp_path: Path, fraction: float):
    with pytest.raises(ValueError, match="validation share of"):
        first_rule([tmp_path / "a.txt"], "text", fraction)
