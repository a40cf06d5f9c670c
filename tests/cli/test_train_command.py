"""``glassgpt train`` as a user runs it: a text becomes a run directory, which can be stopped, continued and opened."""

from __future__ import annotations

import json
import math
import os
import signal
import subprocess
import sys
import time
from importlib.resources import files
from pathlib import Path

import pytest
import torch

from glassgpt.cli.main import main
from glassgpt.cli.texts import name_of
from glassgpt.data.prepare import prepare
from glassgpt.training.config import RunConfig
from glassgpt.training.metrics import METRICS, VARYING, read
from glassgpt.weights.checkpoint import Checkpoint
from glassgpt.weights.directory import load_model, load_tokenizer, save_model
from glassgpt.weights.directory_files import load_config

TINY = [
    "--model.context-length", "16", "--model.emb-dim", "32", "--model.num-heads", "2", "--model.num-layers", "2",
    "--data.vocab-size", "300", "--batch-size", "4", "--checkpoint.every", "10", "--evaluation.every", "10",
]  # fmt: skip


@pytest.fixture(autouse=True)
def text(tmp_path, monkeypatch) -> Path:
    """An empty working directory but for ``my.txt``, a few pages of Romeo and Juliet."""
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "my.txt"
    path.write_text(files("glassgpt.data").joinpath("shakespeare.txt").read_text(encoding="utf-8")[:30_000])
    return path


def story(directory: str) -> list[dict]:
    return [
        {name: value for name, value in line.items() if name not in VARYING} for line in read(Path(directory) / METRICS)
    ]


def test_a_text_becomes_a_run(capsys):
    assert main(["train", "my.txt", *TINY, "--steps", "20"]) == 0
    shown = capsys.readouterr()
    assert "cpu, float32, " in shown.err and "batch 4 x 16" in shown.err
    assert "20 steps, 1,280 tokens" in shown.out and "bits a byte" in shown.out and "●" in shown.out
    run = Path("runs/my")
    names = {path.name for path in run.iterdir()}
    assert names == {"config.toml", "data", "metrics.jsonl", "checkpoints", "loss.svg"}
    assert load_config(run / "checkpoints" / "step-00000020").num_layers == 2


def test_samples_are_shown_and_a_tracker_is_told(capsys):
    pytest.importorskip("tensorboard", reason="needs the extra 'tensorboard'")
    samples = ["--samples.every", "5", "--samples.prompts", '["ROMEO:", "JULIET:"]', "--samples.tokens", "8"]
    assert main(["train", "my.txt", *TINY, "--steps", "5", *samples, "--track", "tensorboard"]) == 0
    shown = capsys.readouterr().err
    assert "MFU" not in shown, "a CPU has no peak rate to speak of"
    assert "--- step 5 ---\nROMEO:" in shown and "--- step 5 ---\nJULIET:" in shown
    assert list(Path("runs/my/tensorboard").glob("events.*"))
    assert [line["prompt"] for line in story("runs/my") if "prompt" in line] == ["ROMEO:", "JULIET:"]


def test_the_checkpoint_opens_in_transformers():
    transformers = pytest.importorskip("transformers")
    assert main(["train", "my.txt", *TINY, "--steps", "2"]) == 0
    directory = "runs/my/checkpoints/step-00000002"
    model = transformers.AutoModelForCausalLM.from_pretrained(directory)
    tokenizer = transformers.AutoTokenizer.from_pretrained(directory)
    ids = tokenizer("ROMEO:", return_tensors="pt").input_ids
    assert tokenizer.decode(ids[0]) == "ROMEO:"
    assert model(ids).logits.shape[-1] == 300


def test_prepared_tokens_are_used_as_they_are():
    prepare(["my.txt"], "tokens", 300, val_fraction=0.1)
    shape = TINY[: TINY.index("--data.vocab-size")]
    assert main(["train", "tokens", *shape, "--steps", "2", "--evaluation.windows", "2"]) == 0
    assert load_config(Path("runs/tokens/checkpoints/step-00000002")).vocab_size == 300
    assert not Path("runs/tokens/data").exists()


@pytest.mark.parametrize(
    ("text", "name"),
    [("my.txt", "my"), ("my notes.v2.txt", "my-notes"), ("./Été_1.txt", "Ete_1"), ("日本.txt", "run"), (".", "t")],
)
def test_a_run_is_called_what_its_text_is_in_plain_letters(tmp_path, monkeypatch, text, name):
    (tmp_path / "t").mkdir()
    monkeypatch.chdir(tmp_path / "t")
    assert RunConfig(name=name_of(Path(text))).name == name


def test_options_override_the_file():
    Path("night.toml").write_text('name = "night"\nsteps = 4\n[data]\nsources = ["my.txt"]\n')
    assert main(["train", "night.toml", *TINY, "--steps", "2", "--optimizer.lr", "3e-4"]) == 0
    written = Path("runs/night/config.toml").read_text()
    assert "steps = 2" in written and "lr = 0.0003" in written


def test_the_result_as_json(capsys):
    assert main(["train", "my.txt", *TINY, "--steps", "10", "--json"]) == 0
    result = json.loads(capsys.readouterr().out)
    assert result["directory"] == "runs/my" and result["exit_code"] == 0
    assert result["best_step"] == 10 and 0 < result["best_bits_per_byte"] < 8


def test_a_run_is_never_overwritten(capsys):
    assert main(["train", "my.txt", *TINY, "--steps", "2"]) == 0
    assert main(["train", "my.txt", *TINY, "--steps", "2"]) == 1
    assert (
        "runs/my holds a run: continue it with --resume, or choose another directory with --name"
        in capsys.readouterr().err
    )
    assert main(["train", "my.txt", *TINY, "--steps", "2", "--name", "other"]) == 0


def test_a_finished_run_is_prolonged_by_resuming_its_directory():
    assert main(["train", "my.txt", *TINY, "--steps", "10"]) == 0
    assert main(["train", "runs/my", "--resume", "--steps", "15"]) == 0
    assert [line["step"] for line in story("runs/my") if "loss" in line] == list(range(1, 16))


def test_killed_by_sigterm_in_one_process_and_continued_in_another(capsys):
    steps = ["--steps", "120"]
    assert main(["train", "my.txt", *TINY, *steps, "--name", "whole"]) == 0
    command = [sys.executable, "-m", "glassgpt", "train", "my.txt", *TINY, *steps, "--name", "parts"]
    # Bits depend on the number of threads, which the processes here must share.
    environment = {**os.environ, "OMP_NUM_THREADS": str(torch.get_num_threads())}
    process = subprocess.Popen(command, env=environment, stderr=subprocess.PIPE, text=True)
    checkpoints = Path("runs/parts/checkpoints")
    while process.poll() is None and not (checkpoints / "step-00000020").exists():
        time.sleep(0.01)
    process.send_signal(signal.SIGTERM)
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 143, errors
    assert "stopped, and saved what was learnt; to go on: glassgpt train runs/parts --resume" in errors
    command = [sys.executable, "-m", "glassgpt", "train", "runs/parts", "--resume"]
    subprocess.run(command, env=environment, check=True, capture_output=True)
    assert story("runs/parts") == story("runs/whole")
    whole, parts = (
        Checkpoint.open(Path("runs") / name / "checkpoints" / "step-00000120") for name in ("whole", "parts")
    )
    for name in ("model.safetensors", "training/optimizer.safetensors"):
        assert parts.read(name) == whole.read(name)


def test_a_closed_terminal_saves_the_run():
    pty = pytest.importorskip("pty")
    arguments = ["my.txt", *TINY, "--steps", "1000000", "--checkpoint.every", "1000000"]
    process, terminal = pty.fork()
    if process == 0:
        signal.signal(signal.SIGHUP, signal.SIG_DFL)  # these tests may run under nohup
        os.execv(sys.executable, [sys.executable, "-m", "glassgpt", "train", *arguments])
    try:
        while not (Path("runs/my") / METRICS).exists() or not story("runs/my"):
            os.read(terminal, 65536)
        os.close(terminal)
        os.waitpid(process, 0)
    except BaseException:
        os.kill(process, signal.SIGKILL)
        raise
    steps = [line["step"] for line in story("runs/my") if "loss" in line]
    assert [path.name for path in Path("runs/my/checkpoints").glob("step-*")] == [f"step-{steps[-1]:08}"]


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        ([], 2, "name a text or a TOML file"),
        (["my.txt", "--optimizer.lrr", "1"], 2, "there is no option --optimizer.lrr: did you mean '--optimizer.lr'?"),
        (["my.txt", "--steps", "many"], 2, "--steps is 'many'"),
        (["absent.txt"], 1, "absent.txt: no such file or directory"),
        (["my.txt", *TINY, "--model.context-length", "50000"], 1, "one window needs 50,001"),
        (["my.txt", *TINY, "--batch-size", "4", "--micro-batch", "3"], 2, "not a multiple of micro_batch 3"),
        (["my.txt", *TINY, "--model.num-heads", "5"], 2, "emb_dim 32 is not divisible by num_heads 5"),
        (["my.txt", *TINY, "--device", "cuda:7"], 1, "device 'cuda:7' is not available here"),
    ],
    ids=lambda value: " ".join(value[:1] + value[-2:]) if isinstance(value, list) else None,
)
def test_what_cannot_be_is_said_before_the_first_step(arguments, code, message, capsys):
    assert main(["train", *arguments]) == code
    assert message in capsys.readouterr().err
    assert not list(Path().glob("runs/*/config.toml"))


def test_a_validation_text_that_fills_no_window_is_refused_before_the_first_step(capsys):
    assert main(["train", "my.txt", *TINY, "--data.validation", "0.0001"]) == 1
    assert "one window needs 17: give a larger data.validation" in capsys.readouterr().err
    assert not Path("runs/my").exists()


def test_a_diverging_run_stops_with_code_3_and_names_the_batch(capsys):
    arguments = ["--steps", "50", "--optimizer.lr", "1e30", "--checkpoint.every", "1"]
    assert main(["train", "my.txt", *TINY, *arguments]) == 3
    assert "is not finite and was not applied" in capsys.readouterr().err


def test_a_run_without_a_single_step_has_its_exit_code_as_json_too(capsys):
    assert main(["train", "my.txt", *TINY, "--steps", "2"]) == 0
    model = load_model(Path("runs/my/checkpoints/step-00000002"))
    torch.nn.init.constant_(model.position_embedding.weight, math.nan)
    save_model(model, load_tokenizer(Path("runs/my/checkpoints/step-00000002")), Path("nan"))
    capsys.readouterr()
    assert main(["train", "my.txt", *TINY, "--name", "other", "--model.start-from", "nan", "--json"]) == 3
    assert json.loads(capsys.readouterr().out) == {"directory": "runs/other", "exit_code": 3, "steps": 0}


def test_changed_data_are_not_resumed(text, capsys):
    assert main(["train", "my.txt", *TINY, "--steps", "2"]) == 0
    text.write_text(text.read_text() + "more")
    assert main(["train", "runs/my", "--resume", "--steps", "4"]) == 1
    assert "runs/my/data" in capsys.readouterr().err
    text.unlink()  # the tokens alone are enough
    assert main(["train", "runs/my", "--resume", "--steps", "4"]) == 0


def test_a_text_that_does_not_fit_leaves_nothing_behind_and_can_be_mended(text, capsys):
    whole = text.read_text(encoding="utf-8")
    text.write_text("a few words", encoding="utf-8")
    assert main(["train", "my.txt", *TINY]) == 1
    assert not Path("runs/my").exists()
    text.write_text(whole, encoding="utf-8")
    assert main(["train", "my.txt", *TINY, "--steps", "1"]) == 0
