"""``glassgpt plan``: the right figures however a model is named, a picture that fits, clear refusals."""

import json

import pytest

from glassgpt.cli.main import main

BLOCKS = set("█▒▓░▚▞·")


@pytest.fixture
def plan(capsys):
    """Runs ``glassgpt plan ... --json`` and returns the figures."""

    def run(*arguments):
        assert main(["plan", *arguments, "--json"]) == 0
        captured = capsys.readouterr()
        assert captured.err == ""
        return json.loads(captured.out)

    return run


@pytest.fixture
def shown(capsys, monkeypatch):
    """Runs ``glassgpt plan ...`` in a terminal of some width and returns its lines."""

    def run(*arguments, width=100):
        monkeypatch.setenv("COLUMNS", str(width))
        assert main(["plan", *arguments]) == 0
        return capsys.readouterr().out.splitlines()

    return run


class TestModels:
    @pytest.mark.parametrize(
        ("name", "count"),
        [("gpt2", 124_439_808), ("1558M", 1_557_611_200), ("gpt3", 174_604_259_328), ("GPT2-Medium", 354_823_168)],
    )
    def test_a_published_size_or_another_name_of_it(self, plan, name, count):
        assert plan(name)["parameters"]["total"] == count

    def test_a_models_directory_and_its_config(self, plan, tmp_path):
        sizes = {"vocab_size": 101, "n_positions": 32, "n_embd": 48, "n_head": 3, "n_layer": 2}
        (tmp_path / "config.json").write_text(json.dumps({"model_type": "gpt2", **sizes}))
        expected = plan(str(tmp_path))["model"]
        assert (expected["vocab_size"], expected["context_length"], expected["num_layers"]) == (101, 32, 2)
        assert plan(str(tmp_path / "config.json"))["parameters"] == plan(str(tmp_path))["parameters"]

    def test_a_run_brings_its_batch_length_and_precision(self, plan, tmp_path):
        toml = tmp_path / "run.toml"
        toml.write_text('steps = 10\nbatch_size = 8\nmicro_batch = 4\n[model]\nsize = "gpt2"\ncontext_length = 512\n')
        figures = plan(str(toml))
        assert (figures["batch"], figures["context"], figures["dtype"]) == (4, 512, "float32")
        assert figures["training"]["tokens"] == 10 * 8 * 512
        assert plan(str(toml), "--batch", "2", "--dtype", "bfloat16")["batch"] == 2


class TestChapter:
    def test_the_chapters_124m(self, plan):
        assert plan("gpt2", "--book")["chapter"] == {
            "matrix_2048": 4_194_304,
            "parameters": 163_009_536,
            "parameters_tied": 124_412_160,
            "mebibytes_float32": 621.83,
        }

    def test_a_layer_of_2048_by_2048(self, plan):
        assert plan("gpt3-xl")["chapter"] == {"matrix_2048": 4_194_304}

    def test_the_years_of_gpt3_stand_beside_what_they_imply(self, plan, shown):
        v100, rtx8000 = plan("175B")["chapter"]["gpt3_years"]
        assert (v100["text_years"], round(v100["years"], 1)) == (355, 355.6)
        assert (rtx8000["text_years"], round(rtx8000["years"], 1)) == (665, 663.8)
        assert round(v100["implied_rate"] / 1e12, 2) == 28.05
        assert round(rtx8000["implied_rate"] / 1e12, 2) == 14.97
        text = "\n".join(shown("175B"))
        assert "665 years in the text" in text and "at the assumed 15 TFLOP/s we get 663.8 years" in text

    def test_other_models_have_no_figures_there(self, plan, shown):
        assert plan("gpt2-medium")["chapter"] == {}
        assert not any("chapter" in line for line in shown("gpt2-medium"))


class TestTraining:
    def test_gpt3_was_trained_on_300_billion_tokens_others_on_20_a_parameter(self, plan):
        assert plan("gpt3-small")["training"]["tokens"] == 300e9
        assert plan("gpt2")["training"]["tokens"] == 20 * 124_439_808
        assert plan("gpt2", "--tokens", "1e9")["training"]["tokens"] == 1e9

    def test_time_and_memory_on_one_accelerator(self, plan):
        figures = plan("gpt2", "--accelerator", "H100", "--tokens", "1e10", "--utilization", "0.5")
        (h100,) = figures["accelerators"]
        assert h100["seconds"] == pytest.approx(1e10 * figures["training_flops_full"] / (989e12 * 0.5))
        assert h100["training_share"] == pytest.approx(figures["training_memory"]["total"] / (80 * 2**30))

    def test_it_says_whether_it_fits(self, shown):
        assert "training fits one T4: 2.9 GiB of 16.0 GiB" in shown("gpt2", "--accelerator", "t4")
        assert "training does not fit one T4: 29.3 GiB of 16.0 GiB" in shown("gpt2-xl", "--accelerator", "t4")

    def test_muon_keeps_one_moment_less(self, plan):
        adamw, muon = (plan("gpt2", "--optimizer", name)["training_memory"]["optimizer"] for name in ("adamw", "muon"))
        assert adamw - muon == 4 * 12 * 12 * 768**2


class TestSeveral:
    def test_what_a_gpu_sends_and_how_long_it_takes(self, plan, shown):
        scale = plan("gpt2", "--gpus", "16", "--micro-steps", "4")["scale"]
        assert scale["sent"] == {"data": 2 * 15 / 16 * 4 * 124_439_808, "tensor": 0}
        assert scale["sending_seconds"]["data"] == scale["sent"]["data"] / 50e9
        assert scale["tokens_per_step"] == 16 * 4 * 1024
        assert any("On 16 x H100 SXM  ddp, an estimate" in line for line in shown("gpt2", "--gpus", "16"))

    def test_ranks_that_share_matrices(self, plan):
        scale = plan("13B", "--gpus", "64", "--tensor", "2", "--accelerator", "h200")["scale"]
        assert (scale["device"], scale["layout"]) == ("H200 SXM", "fsdp, tensor 2")
        assert scale["sent"]["tensor"] > 0 and scale["step_seconds"] > scale["computing_seconds"]


class TestHere:
    TINY = """
[model]
context_length = 16
emb_dim = 32
num_heads = 2
num_layers = 2
[data]
vocab_size = 300
"""

    def test_speed_and_memory_of_a_run_on_this_machine(self, plan, shown, tmp_path):
        run = tmp_path / "run.toml"
        run.write_text(self.TINY)
        found = plan(str(run), "--here")["here"]
        assert found["tokens_per_second"] == pytest.approx(found["tokens"] / found["step_seconds"])
        assert found["memory"] == found["process"] + found["training"]
        text = "\n".join(shown(str(run), "--here"))
        assert "Here  cpu, measured in" in text and "tokens/s" in text and "of the process" in text


class TestPicture:
    @pytest.mark.parametrize("width", [80, 120])
    @pytest.mark.parametrize("arguments", [["gpt2"], ["gpt3"], ["124M", "--book", "--accelerator", "cpu"]])
    def test_fits_the_terminal(self, shown, arguments, width):
        lines = shown(*arguments, width=width)
        assert max(map(len, lines)) <= width
        assert not any("…" in line for line in lines)

    def test_what_is_gone_at_the_fullest_moment_has_no_number(self, shown):
        lines = shown("gpt2-xl", "--accelerator", "h100")
        assert any(line.startswith("Memory at its fullest") for line in lines)
        assert [line.split() for line in lines if "activations" in line] == [["░", "activations"]]

    def test_bars_are_in_proportion(self, shown):
        bar = next(line for line in shown("gpt2", width=100) if len(line) > 50 and set(line) <= BLOCKS)
        shares = {"█": 31.0, "▒": 0.6, "▓": 22.8, "░": 45.5}  # token and position embedding, attention, feed forward
        assert len(bar) == 100
        assert all(abs(bar.count(cell) - share) <= 1 for cell, share in shares.items())

    def test_parts_differ_by_colour_or_by_fill(self, shown, monkeypatch):
        monkeypatch.setenv("FORCE_COLOR", "1")
        monkeypatch.setenv("TERM", "xterm-256color")
        monkeypatch.delenv("NO_COLOR", raising=False)
        colours = "\n".join(shown("gpt2"))
        monkeypatch.setenv("NO_COLOR", "1")
        fills = "\n".join(shown("gpt2"))
        assert "█" in colours and "▓" not in colours
        assert "▓" in fills and "\x1b[3" not in fills


@pytest.mark.parametrize(
    ("arguments", "code", "line"),
    [
        (["gpt9"], 2, "there is no model 'gpt9': did you mean 'gpt3'?"),
        (["gpt2-x1"], 2, "there is no model 'gpt2-x1': did you mean 'gpt2-xl'?"),
        (["gpt2", "--batch", "-3"], 2, 'Invalid value "-3" for --batch. Must be >= 1.'),
        (["gpt2", "--accelerator", "H1000"], 2, "there is no accelerator 'H1000': did you mean 'h100'?"),
        (["gpt2", "--context", "4096"], 2, "--context 4096 does not fit: gpt2 holds 1024 tokens"),
        (["gpt2", "--dtype", "bf16"], 2, 'Did you mean "bfloat16"?'),
        (["gpt2", "--tokens", "0"], 2, 'Invalid value "0.0" for --tokens. Must be > 0.'),
        (["gpt2", "--gpus", "3", "--tensor", "2"], 1, "3 processes are no whole groups of tensor 2"),
        (["gpt2", "--gpus", "2", "--tensor", "2", "--layout", "ddp"], 2, "tensor 2 does not go with data 'ddp'"),
        (["gpt2", "--utilization", "1.5"], 2, 'Invalid value "1.5" for --utilization. Must be <= 1.'),
        (["missing.toml"], 1, "missing.toml: No such file or directory"),
        ([__file__], 1, "test_plan_command.py is a file: give a run, a model directory"),
    ],
)
def test_nonsense_is_one_line(arguments, code, line, capsys):
    assert main(["plan", *arguments]) == code
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.count("\n") == 1
    assert line in captured.err
