"""``glassgpt generate`` as a user runs it, on a tiny model's directory."""

import io
import json
import os
import re
import subprocess
import sys

import pytest

from glassgpt.cli.completions import show
from glassgpt.generation.sampling import SamplingParams
from glassgpt.generation.text import LanguageModel
from glassgpt.model.config import ModelConfig
from glassgpt.model.gpt import GPT, initialize


@pytest.fixture
def directory(model, bytes_tokenizer, tmp_path):
    LanguageModel(model, bytes_tokenizer).save(tmp_path / "model")
    return tmp_path / "model"


def glassgpt(*arguments, input=None) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "glassgpt", *map(str, arguments)]
    environment = {**os.environ, "NO_COLOR": "1", "OMP_NUM_THREADS": "1"}
    return subprocess.run(command, input=input, env=environment, capture_output=True, text=True, timeout=120)


def test_prompt_and_text_go_to_stdout_and_the_seed_to_stderr(directory, model, bytes_tokenizer):
    result = glassgpt("generate", directory, "Once [b]upon", "--seed", 3, "--max-new-tokens", 12)
    expected = LanguageModel(model, bytes_tokenizer).generate("Once [b]upon", seed=3, max_new_tokens=12)
    assert result.returncode == 0
    assert result.stdout == f"Once [b]upon{expected}\n"
    assert "12 tokens, seed 3" in result.stderr


def test_a_prompt_is_shown_as_it_is(directory):
    """Not as rich would show it: with tabs written out, :x: a picture, blanks beyond the width of a page gone."""
    prompt = "1:x:2\tthree" + " " * 12
    arguments = ("generate", directory, "--seed", 3, "--max-new-tokens", 2, "--json")
    answer = json.loads(glassgpt(*arguments, prompt).stdout)
    assert glassgpt(*arguments[:-1], prompt).stdout == prompt + answer["text"] + "\n"


def test_what_is_written_does_not_steer_a_terminal(model, bytes_tokenizer, monkeypatch):
    terminal = io.StringIO()
    terminal.isatty = lambda: True
    monkeypatch.setattr(sys, "stdout", terminal)
    writer = LanguageModel(model, bytes_tokenizer).writer()
    completion = writer.add("On\x1bce\xa0", SamplingParams(max_new_tokens=25), seed=6)
    show(writer, completion, "float32")
    assert not completion.text.isprintable()
    assert "On\\x1bce\xa0" in terminal.getvalue()
    steering = set(map(chr, [*range(32), *range(127, 160)])) - {"\t", "\n"}
    assert not steering & set(re.sub("\x1b\\[[0-9]*m", "", terminal.getvalue()))  # rich's own: bold and no longer


def test_json_has_every_token_with_its_logprob(directory):
    result = glassgpt("generate", directory, "Once", "--seed", 3, "--max-new-tokens", 5, "--json", "--logprobs", 2)
    answer = json.loads(result.stdout)
    assert (answer["prompt"], answer["seed"], answer["finish_reason"]) == ("Once", 3, "length")
    assert len(answer["tokens"]) == 5
    assert all(token["logprob"] <= 0 and len(token["top"]) == 2 for token in answer["tokens"])


def test_the_prompt_may_be_piped_in(directory):
    arguments = ("generate", directory, "--seed", 3, "--max-new-tokens", 4)
    assert glassgpt(*arguments, input="Once\n").stdout == glassgpt(*arguments, "--", "Once").stdout


def test_the_shown_seed_repeats_the_text(directory):
    first = glassgpt("generate", directory, "Once", "--max-new-tokens", 8)
    seed = first.stderr.split("seed ")[1].split()[0].rstrip(",")
    assert glassgpt("generate", directory, "Once", "--max-new-tokens", 8, "--seed", seed).stdout == first.stdout


def test_the_end_of_the_context_is_said(directory):
    result = glassgpt("generate", directory, "Once", "--ignore-eot", "--seed", 1)
    assert "the context is full: --overflow slide goes on" in result.stderr


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["{}", "x" * 40], 1, "the prompt has 40 tokens, the context holds 32"),
        (["{}", "x", "--temperature", "-1"], 2, "temperature is -1.0, expected greater than or equal to 0"),
        (["{}", "x", "--overflow", "wrap"], 2, "overflow"),
        (["{}", "x", "--logprobs", "30"], 2, "--logprobs"),
        (["{}", "x", "--logprobs", "3"], 2, "add --json"),
        (["{}", "x", "--order", "completion"], 2, "give --prompts FILE"),
        (["{}", "x", "--temprature", "1"], 2, "Did you mean --temperature"),
        (["{}/nowhere", "x"], 1, "no model"),
    ],
)
def test_nonsense_is_one_clear_line(directory, arguments, code, message):
    result = glassgpt("generate", *(argument.format(directory) for argument in arguments))
    assert result.returncode == code
    assert result.stdout == ""
    assert message in result.stderr
    assert len(result.stderr.strip().splitlines()) == 1


def test_a_damaged_model_is_one_clear_line(directory):
    path = directory / "model.safetensors"
    path.write_bytes(path.read_bytes()[:1000])
    result = glassgpt("generate", directory, "x")
    assert result.returncode == 1
    assert "model.safetensors is not a whole safetensors file" in result.stderr
    assert len(result.stderr.strip().splitlines()) == 1
    assert "Traceback" in glassgpt("generate", directory, "x", "--debug").stderr


def test_several_samples_of_one_prompt(directory, model, bytes_tokenizer):
    arguments = ("generate", directory, "Once", "--seed", 3, "--max-new-tokens", 6, "--n", 3)
    expected = LanguageModel(model, bytes_tokenizer).complete(["Once"], n=3, seed=3, max_new_tokens=6)
    answers = json.loads(glassgpt(*arguments, "--json").stdout)
    assert [answer["text"] for answer in answers] == [completion.text for completion in expected]
    assert [answer["choice"] for answer in answers] == [0, 1, 2]
    shown = glassgpt(*arguments)
    assert shown.stdout == "\n---\n".join("Once" + completion.text for completion in expected) + "\n"
    assert "3 samples, seed 3" in shown.stderr


def test_a_file_of_prompts_becomes_json_lines(directory, model, bytes_tokenizer, tmp_path):
    prompts = tmp_path / "prompts.jsonl"
    prompts.write_text('{"prompt": "Once", "max_new_tokens": 20}\n{"prompt": "Twice", "seed": 8, "n": 2}\n')
    arguments = ("generate", directory, "--prompts", prompts, "--seed", 3, "--max-new-tokens", 4)
    gpt = LanguageModel(model, bytes_tokenizer)
    expected = [
        *gpt.complete(["Once"], seed=3, max_new_tokens=20, temperature=0.8),
        *gpt.complete(["Twice"], n=2, seed=8, max_new_tokens=4, temperature=0.8),
    ]
    rows = [json.loads(line) for line in glassgpt(*arguments).stdout.splitlines()]
    assert [(row["line"], row["choice"], row["num_tokens"]) for row in rows] == [(1, 0, 20), (2, 0, 4), (2, 1, 4)]
    assert [row["text"] for row in rows] == [completion.text for completion in expected]
    finished = [
        json.loads(line) for line in glassgpt(*arguments, "--order", "completion", "--json").stdout.splitlines()
    ]
    assert [row["line"] for row in finished] == [2, 2, 1]
    assert [len(row["tokens"]) for row in finished] == [4, 4, 20]


@pytest.mark.parametrize(
    ("content", "arguments", "message", "code"),
    [
        ("Once\n\n", (), "prompts.txt:2: the line is empty", 1),
        ("Once\n" + "long " * 10, (), "prompts.txt:2: the prompt has 50 tokens, the context holds 32", 1),
        ("Once", ("Once",), "give one or the other", 2),
    ],
)
def test_prompts_that_cannot_be_are_refused_before_anything_is_written(
    directory, tmp_path, content, arguments, message, code
):
    (tmp_path / "prompts.txt").write_text(content)
    result = glassgpt("generate", directory, *arguments, "--prompts", tmp_path / "prompts.txt")
    assert (result.returncode, result.stdout) == (code, "")
    assert message in result.stderr


def test_speculation_writes_the_same_text_and_says_how_guesses_went(directory):
    arguments = ("generate", directory, "Once Once", "--seed", 3, "--max-new-tokens", 12)
    plain = glassgpt(*arguments)
    guessed = glassgpt(*arguments, "--speculate", directory)
    assert guessed.stdout == plain.stdout
    # Drafted by itself: the prompt's pass writes one token, two others seven guesses and two, and one more each.
    assert "9 of 9 guesses right in 2 passes" in guessed.stderr
    answer = json.loads(glassgpt(*arguments, "--speculate", "lookup", "--json").stdout)
    assert plain.stdout == f"Once Once{answer['text']}\n"
    assert answer["speculation"].keys() == {"passes", "proposed", "accepted"}


def test_speculation_that_cannot_be_is_refused(directory, gpt2_tokenizer, tmp_path):
    other = ModelConfig(vocab_size=50257, context_length=8, emb_dim=8, num_heads=1, num_layers=1)
    LanguageModel(initialize(GPT(other), seed=1), gpt2_tokenizer).save(tmp_path / "other")
    result = glassgpt("generate", directory, "Once", "--speculate", tmp_path / "other")
    assert result.returncode == 1
    assert "the draft model's vocabulary (50257 tokens) is not that of the model (257" in result.stderr
    result = glassgpt("generate", directory, "Once", "--speculate", "lookup", "--n", 2)
    assert (result.returncode, result.stdout) == (2, "")
    assert "--speculate writes one text" in result.stderr
