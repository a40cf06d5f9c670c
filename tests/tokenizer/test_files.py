"""The files of a Hugging Face directory: transformers reads them, we read them back, and we refuse what is not ours."""

import json
from pathlib import Path
from typing import Any

import pytest
from transformers import AutoTokenizer

from glassgpt.tokenizer.gpt2 import gpt2, is_gpt2
from glassgpt.tokenizer.tokenizer import Tokenizer

TEXT = "Every effort, naïve 日本語 and 🙂!\n\n  <|endoftext|> it's  "


def write(tokenizer: Tokenizer, directory: Path) -> Path:
    for name, content in tokenizer.files(context_length=256).items():
        (directory / name).write_bytes(content)
    return directory


def test_transformers_reads_them(tokenizer, tmp_path):
    theirs: Any = AutoTokenizer.from_pretrained(write(tokenizer, tmp_path))
    assert theirs.encode(TEXT) == tokenizer.encode(TEXT, special=True)
    assert theirs.decode(theirs.encode(TEXT)) == TEXT
    assert len(theirs) == tokenizer.vocab_size
    assert theirs.model_max_length == 256
    assert theirs.bos_token_id == theirs.eos_token_id == theirs.unk_token_id == tokenizer.eot


def test_we_read_them_back(tokenizer, tmp_path):
    directory = write(tokenizer, tmp_path)
    assert Tokenizer.load(directory).sha256 == tokenizer.sha256
    (directory / "tokenizer.json").unlink()
    assert Tokenizer.load(str(directory)).sha256 == tokenizer.sha256


def test_gpt2s_own_file_is_known_by_its_hash(tmp_path):
    directory = write(gpt2(), tmp_path)
    assert is_gpt2(directory) and Tokenizer.load(directory) is gpt2()
    path = directory / "tokenizer.json"
    path.write_bytes(path.read_bytes().replace(b"\n", b" ", 1))
    assert not is_gpt2(directory) and Tokenizer.load(directory).sha256 == gpt2().sha256


def test_we_read_what_transformers_writes(tokenizer, tmp_path):
    theirs: Any = AutoTokenizer.from_pretrained(write(tokenizer, tmp_path))
    theirs.save_pretrained(tmp_path / "again")
    assert Tokenizer.load(tmp_path / "again").sha256 == tokenizer.sha256


def test_we_read_merges_joined_by_a_space_as_older_files_have_them(own, tmp_path):
    directory = write(own, tmp_path)
    edit(directory, lambda file: file["model"].update(merges=[" ".join(pair) for pair in file["model"]["merges"]]))
    assert Tokenizer.load(directory).sha256 == own.sha256


def test_without_a_context_length_none_is_written():
    assert "model_max_length" not in json.loads(gpt2().files()["tokenizer_config.json"])


def test_a_directory_without_a_tokenizer_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"has no tokenizer: expected tokenizer.json, or vocab.json and merges"):
        Tokenizer.load(tmp_path)


def edit(directory: Path, change) -> None:
    path = directory / "tokenizer.json"
    file = json.loads(path.read_bytes())
    change(file)
    path.write_text(json.dumps(file))


OTHERS = {
    "another kind of model": (lambda file: file["model"].update(type="WordPiece"), "model.type: Input should be 'BPE'"),
    "text changed before": (lambda file: file.update(normalizer={"type": "NFC"}), "normalizer: Input should be None"),
    "another cut": (
        lambda file: file["pre_tokenizer"].update(type="Whitespace"),
        "pre_tokenizer.type: Input should be",
    ),
    "a space put before": (lambda file: file["pre_tokenizer"].update(add_prefix_space=True), "add_prefix_space: Input"),
    "another special token": (
        lambda file: file["added_tokens"].append({"id": 400, "content": "<pad>"}),
        "added_tokens.1.content: the special token '<pad>' is one too many",
    ),
    "ids swapped": (lambda file: file["model"]["vocab"].update(a=0, b=0), "the ids do not follow the merges"),
    "a merge lost": (lambda file: file["model"]["merges"].pop(), "the ids do not follow the merges"),
    "a merge twice": (lambda file: repeat_last_merge(file["model"]), "the ids do not follow the merges"),
    "merges that never meet": (lambda file: cut_elsewhere(file["model"]), "never leave side by side"),
    "no byte's spelling": (lambda file: file["model"]["merges"].append(["▁", "a"]), "expected ids for the 256 bytes"),
    "half a merge": (lambda file: file["model"]["merges"].append("a"), "1: Field required"),
    "half a file": (lambda file: file.pop("model"), "model: Field required"),
}


def repeat_last_merge(model: dict) -> None:
    model["merges"].append(model["merges"][-1])
    model["vocab"]["<|endoftext|>"] += 1


def cut_elsewhere(model: dict) -> None:
    """Splits a merged token of three letters at its other place, the token itself unchanged."""
    i, (left, right) = next(
        (i, pair) for i, pair in enumerate(model["merges"]) if len(pair[0]) == 2 and len(pair[1]) == 1
    )
    model["merges"][i] = [left[0], left[1] + right]


@pytest.mark.parametrize("case", OTHERS)
def test_other_tokenizers_are_refused(case, own, tmp_path):
    change, reason = OTHERS[case]
    directory = write(own, tmp_path)
    edit(directory, change)
    with pytest.raises(ValueError) as refused:
        Tokenizer.load(directory)
    assert str(directory / "tokenizer.json") in str(refused.value)
    assert reason in str(refused.value)


@pytest.mark.parametrize("content", [b"", b"{", b"\xff\xfe", b"[" * 100_000, b'{"model": NaN}'])
@pytest.mark.parametrize("name", ["tokenizer.json", "vocab.json", "merges.txt"])
def test_damaged_files_are_refused_by_name(name, content, own, tmp_path):
    directory = write(own, tmp_path)
    if name != "tokenizer.json":
        (directory / "tokenizer.json").unlink()
    (directory / name).write_bytes(content)
    with pytest.raises(ValueError, match=name):
        Tokenizer.load(directory)


def test_a_file_too_large_is_not_read(own, tmp_path):
    directory = write(own, tmp_path)
    with (directory / "tokenizer.json").open("wb") as file:
        file.truncate(65 * 2**20)
    with pytest.raises(ValueError, match=r"tokenizer.json has 68,157,440 bytes"):
        Tokenizer.load(directory)
