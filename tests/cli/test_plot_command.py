"""``glassgpt plot``: curves of runs in the terminal, as a file, as JSON."""

from __future__ import annotations

import json

import pytest

from glassgpt.cli.main import main


@pytest.fixture(autouse=True)
def runs(tmp_path, monkeypatch):
    """Two runs of 40 steps, ``a`` and ``b``."""
    monkeypatch.chdir(tmp_path)
    for name, start in (("a", 6.0), ("b", 5.0)):
        lines = [{"step": step, "tokens": 8 * step, "loss": start - step / 20} for step in range(1, 41)]
        lines += [{"step": 40, "tokens": 320, "val_loss": start - 1.9, "bits_per_byte": start / 3}]
        (tmp_path / name).mkdir()
        (tmp_path / name / "metrics.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))


def test_runs_are_compared_in_the_terminal(capsys):
    assert main(["plot", "a", "b"]) == 0
    shown = capsys.readouterr().out
    assert "a training" in shown and "b validation" in shown
    assert "b  40 steps, 320 tokens, best validation 3.1000 (1.6667 bits a byte) at step 40" in shown


def test_a_file_gets_the_same_curves(tmp_path, capsys):
    assert main(["plot", "a", "b", "--out", "loss.svg", "--bits"]) == 0
    assert "bits a byte" in (tmp_path / "loss.svg").read_text()
    assert "drawn to loss.svg" in capsys.readouterr().out


def test_runs_are_compared_by_what_they_have_seen(tmp_path, capsys):
    assert main(["plot", "a", "b", "--x", "tokens", "--out", "loss.svg"]) == 0
    assert "(tokens)" in capsys.readouterr().out and ">tokens</text>" in (tmp_path / "loss.svg").read_text()


def test_spikes_are_marked(tmp_path, capsys):
    spike = {"step": 30, "score": 9.0, "spike_loss": 5.5, "median_loss": 4.6, "windows": [1]}
    with (tmp_path / "a" / "metrics.jsonl").open("a") as file:
        file.write(json.dumps(spike) + "\n")
    assert main(["plot", "a"]) == 0
    assert "× spikes 1" in capsys.readouterr().out


def test_a_png_needs_the_extra(tmp_path):
    pytest.importorskip("resvg_py", reason="needs the extra 'plot'")
    assert main(["plot", "a", "--out", "loss.png"]) == 0
    assert (tmp_path / "loss.png").read_bytes().startswith(b"\x89PNG")


def test_json_has_results_and_lines(capsys):
    assert main(["plot", "a", "--json"]) == 0
    answer = json.loads(capsys.readouterr().out)
    assert answer["runs"][0]["best_val_loss"] == pytest.approx(4.1)
    assert [line["label"] for line in answer["lines"]] == ["batch", "training", "validation"]


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        ([], 2, "RUNS"),
        (["c"], 1, "c is not a run: it has no metrics.jsonl"),
        (["a", "--out", "loss.pdf"], 2, "a picture ends in .svg or .png"),
    ],
)
def test_what_cannot_be_drawn_is_refused(arguments, code, message, capsys):
    assert main(["plot", *arguments]) == code
    assert message in capsys.readouterr().err
