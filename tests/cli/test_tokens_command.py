"""``glassgpt tokens`` as a user runs it."""

import io
import json
import sys
from pathlib import Path

import pytest

from glassgpt.cli.main import main
from glassgpt.tokenizer.training import train


@pytest.fixture(autouse=True)
def plain(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("FORCE_COLOR", "NO_COLOR", "COLORTERM", "TERM"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("COLUMNS", "80")


def pipe(monkeypatch: pytest.MonkeyPatch, content: bytes) -> None:
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(content)))


def test_bars_part_the_tokens_and_a_table_tells_about_each(capsys):
    assert main(["tokens", "Every effort\nmoves\tyou"]) == 0
    lines = [line.rstrip() for line in capsys.readouterr().out.splitlines()]
    assert lines == [
        "Every│·effort│⏎",
        "│m│oves│→│you",
        "",
        "  id   bytes       text",
        "6109   'Every'     Every",
        "3626   ' effort'   ·effort",
        " 198   '\\n'        ⏎",
        "  76   'm'         m",
        "5241   'oves'      oves",
        " 197   '\\t'        →",
        "5832   'you'       you",
        "",
        "tokens 7 · characters 22 · bytes 22 · bytes a token 3.1",
    ]


def test_colours_need_no_bars(capsys, monkeypatch):
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("COLORTERM", "truecolor")
    assert main(["tokens", "Every effort"]) == 0
    first = capsys.readouterr().out.splitlines()[0]
    assert first == "\x1b[38;2;0;0;0;48;2;119;170;221mEvery\x1b[0m\x1b[38;2;0;0;0;48;2;238;221;136m·effort\x1b[0m"


def test_no_color_brings_the_bars_back(capsys, monkeypatch):
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("NO_COLOR", "1")
    assert main(["tokens", "Every effort"]) == 0
    assert capsys.readouterr().out.startswith("Every│·effort\n")


def test_half_characters_and_control_characters_are_escaped(capsys):
    assert main(["tokens", "日\x1b[31m"]) == 0
    assert capsys.readouterr().out.startswith("\\xe6\\x97│\\xa5│\\x1b│[│31│m\n")


def test_json(capsys):
    assert main(["tokens", "a 日", "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == [
        {"id": 64, "text": "a", "bytes": [97]},
        {"id": 10545, "text": " \ufffd", "bytes": [32, 230]},
        {"id": 245, "text": "\ufffd", "bytes": [151]},
        {"id": 98, "text": "\ufffd", "bytes": [165]},
    ]


@pytest.mark.parametrize("arguments", [["-"], []])
def test_it_reads_standard_input(arguments, capsys, monkeypatch):
    pipe(monkeypatch, "naïve\n".encode())
    assert main(["tokens", *arguments, "--json"]) == 0
    assert "".join(token["text"] for token in json.loads(capsys.readouterr().out)) == "naïve\n"


def test_special_makes_endoftext_one_token(capsys):
    assert main(["tokens", "a<|endoftext|>", "--special"]) == 0
    assert capsys.readouterr().out.startswith("a│<|endoftext|>\n")
    assert main(["tokens", "a<|endoftext|>"]) == 0
    assert capsys.readouterr().out.startswith("a│<│|│end│of│text│|│>\n")


def test_another_tokenizer(capsys, tmp_path: Path):
    for name, content in train(["banana banana"], vocab_size=300).files().items():
        (tmp_path / name).write_bytes(content)
    assert main(["tokens", "banana bandana", "--tokenizer", str(tmp_path)]) == 0
    assert capsys.readouterr().out.startswith("banana│·│ban│d│ana\n")


def test_what_cannot_be_read_is_said_in_one_line(capsys, monkeypatch, tmp_path):
    assert main(["tokens", "a", "--tokenizer", str(tmp_path)]) == 1
    assert "has no tokenizer: expected tokenizer.json" in capsys.readouterr().err
    pipe(monkeypatch, b"\xff")
    assert main(["tokens"]) == 1
    assert capsys.readouterr().err.startswith("glassgpt: error: standard input is not UTF-8 text")


def test_no_text_on_a_terminal_is_wrong_usage(capsys, monkeypatch):
    pipe(monkeypatch, b"")
    monkeypatch.setattr(sys.stdin, "isatty", lambda: True)
    assert main(["tokens"]) == 2
    assert 'give one, such as "Every effort moves you"' in capsys.readouterr().err
