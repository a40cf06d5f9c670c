"""``glassgpt prepare`` as a user runs it."""

import json
import subprocess
import sys
import time
from pathlib import Path

import pytest

from glassgpt.cli.main import main
from glassgpt.data.documents import SHAKESPEARE
from glassgpt.data.shards import Shards
from glassgpt.tokenizer.tokenizer import Tokenizer


@pytest.fixture(autouse=True)
def plain(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in ("FORCE_COLOR", "COLORTERM"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("COLUMNS", "100")
    monkeypatch.chdir(tmp_path)


def test_the_bundled_text_becomes_shards(capsys):
    assert main(["prepare", "shakespeare", "--out", "data"]) == 0
    out = capsys.readouterr().out
    assert "train   302,910           1        1" in out
    assert "There is one document: validation is the end of it." in out
    assert "vocabulary 50,257 · uint16 · 1.0 MB of text in" in out
    assert out.endswith("next: glassgpt train data\n")
    assert Shards.open("data").num_tokens == 302_910
    assert Tokenizer.load("data").vocab_size == 50_257

    assert main(["prepare", "shakespeare", "--out", "data"]) == 0
    assert "nothing was left to do" in capsys.readouterr().out


def test_json_says_the_same(capsys):
    Path("a.jsonl").write_text("".join(json.dumps({"body": f"document {i} " * 20}) + "\n" for i in range(200)))
    arguments = ["--field", "body", "--val-fraction", "0.1", "--vocab-size", "300", "--workers", "1", "--json"]
    assert main(["prepare", "a.jsonl", "--out", "data", *arguments]) == 0
    result = json.loads(capsys.readouterr().out)
    manifest = Shards.open("data").manifest
    assert manifest is not None
    assert result["digest"] == manifest.digest
    assert result["vocab_size"] == Tokenizer.load("data").vocab_size <= 300
    assert result["splits"]["train"]["documents"] + result["splits"]["val"]["documents"] == 200
    assert result["divided"] == "by document"
    assert result["text_bytes"] == sum(len(f"document {i} " * 20) for i in range(200))


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["--out", "data"], 2, "name at least one source"),
        (["a.txt"], 2, "--out"),
        (["nowhere.txt", "--out", "data"], 1, "nowhere.txt: no such file or directory"),
        (["a.pdf", "--out", "data"], 1, "a source ends in .txt, .jsonl, .parquet"),
        (["a.txt", "--out", "data", "--val-fraction", "1.5"], 1, "validation share of 1.5 is impossible"),
        (["a.txt", "--out", "data", "--val-fraction", "-1"], 2, "--val-fraction"),
        (["a.txt", "--out", "data", "--vocab-size", "100"], 1, "cannot hold 256 bytes"),
        (["a.txt", "--out", "data", "--vocab-size", "512", "--tokenizer", "classics"], 2, "give one or the other"),
        (["a.txt", "--out", "a.txt"], 1, "a.txt is a file: name a directory"),
    ],
)
def test_what_cannot_be_is_one_line(capsys, arguments: list[str], code: int, message: str):
    Path("a.txt").write_text("A text of one line.\n" * 20)
    Path("a.pdf").write_text("x")
    assert main(["prepare", *arguments]) == code
    error = capsys.readouterr().err
    assert error.startswith("glassgpt: error:") and error.count("\n") == 1
    assert message in error


def test_a_killed_command_goes_on(tmp_path: Path):
    texts = SHAKESPEARE.read_text().split("\n\n") * 8
    Path("a.jsonl").write_text("".join(json.dumps({"text": text}) + "\n" for text in texts))
    command = [sys.executable, "-m", "glassgpt", "prepare", "a.jsonl", "--json", "--out"]
    subprocess.run([*command, "once"], check=True, capture_output=True)
    process = subprocess.Popen([*command, "often"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    while process.poll() is None and not list(Path().glob("often/*.partial")):
        time.sleep(0.01)
    process.kill()
    process.wait()
    subprocess.run([*command, "often"], check=True, capture_output=True)
    assert {path.name: path.read_bytes() for path in Path("often").iterdir()} == {
        path.name: path.read_bytes() for path in Path("once").iterdir()
    }
