"""The shell: which exit code, which stream, and one clear line for everything that goes wrong."""

import json
import os
import subprocess
import sys
from types import ModuleType

import pytest

from glassgpt import __version__
from glassgpt.cli import main as shell
from glassgpt.cli.main import COMMANDS, main
from glassgpt.cli.options import UsageError, did_you_mean, print_json, progress


@pytest.fixture
def command(monkeypatch):
    """Registers a function as ``glassgpt try``."""

    def register(function):
        module = ModuleType("a_command_under_test")
        module.function = function
        monkeypatch.setitem(sys.modules, module.__name__, module)
        line = ("try", f"{module.__name__}:function", "something to try")
        monkeypatch.setattr(shell, "COMMANDS", {**COMMANDS, "Tests": [line]})

    return register


def glassgpt(*arguments, code="", **environment):
    """Runs the command line in a process of its own; ``code`` runs in the same process afterwards."""
    script = f"import sys\nfrom glassgpt.cli.main import main\nresult = main(sys.argv[1:])\n{code}\nsys.exit(result)"
    command = [sys.executable, "-c", script, *arguments]
    return subprocess.run(command, capture_output=True, text=True, env={**os.environ, **environment})


class TestOverview:
    @pytest.mark.parametrize("arguments", [[], ["--help"], ["-h"]])
    def test_lists_every_command_with_its_line(self, arguments, capsys, monkeypatch):
        monkeypatch.setenv("COLUMNS", "120")
        assert main(arguments) == 0
        out = capsys.readouterr().out
        for commands in COMMANDS.values():
            for name, _, line in commands:
                assert any(row.strip().split(maxsplit=1) == [name, line] for row in out.splitlines()), name

    def test_imports_neither_the_commands_nor_what_they_need(self):
        heavy = {"torch", "numpy", "pydantic", "cyclopts", "tokenizers", "glassgpt.cli.plan"}
        done = glassgpt("--help", code=f"print(sorted({heavy} & sys.modules.keys()), file=sys.stderr)")
        assert (done.returncode, done.stderr) == (0, "[]\n")

    @pytest.mark.parametrize("name", [name for commands in COMMANDS.values() for name, _, _ in commands])
    def test_the_help_of_a_command_imports_no_torch(self, name):
        done = glassgpt(name, "--help", code="print('torch' in sys.modules, file=sys.stderr)")
        assert (done.returncode, done.stderr) == (0, "False\n")
        assert done.stdout.startswith(f"Usage: glassgpt {name}")

    def test_the_help_of_a_command_fits_the_terminal(self, command, capsys, monkeypatch):
        @command
        def fit(text: str, /, *, tags: tuple[str, ...] = ()) -> None:
            """Fit.

            Lines of a docstring that are longer than the terminal become
            one paragraph.

                glassgpt fit this

            Args:
                text: What is said of an argument in more than one line
                    is one text, too.
                tags: Of no interest.
            """

        monkeypatch.setenv("COLUMNS", "200")
        assert main(["try", "--help"]) == 0
        lines = capsys.readouterr().out.splitlines()
        assert "Lines of a docstring that are longer than the terminal become one paragraph." in lines
        assert "    glassgpt fit this" in lines
        assert any("in more than one line is one text, too." in line for line in lines)
        assert not any("default" in line for line in lines)

    def test_version(self, capsys):
        assert main(["--version"]) == 0
        assert capsys.readouterr().out == f"glassgpt {__version__}\n"

    def test_is_a_module_to_run(self):
        done = subprocess.run([sys.executable, "-m", "glassgpt", "--version"], capture_output=True, text=True)
        assert (done.returncode, done.stdout) == (0, f"glassgpt {__version__}\n")

    def test_has_colours_only_if_wanted(self):
        assert "\x1b[" in glassgpt("--help", FORCE_COLOR="1", TERM="xterm").stdout
        assert "\x1b[3" not in glassgpt("--help", FORCE_COLOR="1", NO_COLOR="1", TERM="xterm").stdout
        assert "\x1b[" not in glassgpt("--help").stdout


class TestUsage:
    """Exit code 2 and one line that names what was given and what to do."""

    @pytest.mark.parametrize(
        ("arguments", "line"),
        [
            (["plna"], "glassgpt: error: there is no command 'plna': did you mean 'plan'?"),
            (["plan", "--bacth", "3"], "Unknown option: --bacth. Did you mean --batch? See: glassgpt plan --help"),
            (["plan", "--batch", "many"], 'Invalid value for --batch: unable to convert "many" into int. See:'),
            (["plan", "--batch"], 'Command "plan" parameter --batch requires an argument. See: glassgpt plan --help'),
            (["plan", "gpt2", "gpt3"], "glassgpt: error: Unexpected: gpt3. See: glassgpt plan --help"),
        ],
    )
    def test_mistakes(self, arguments, line, capsys):
        assert main(arguments) == 2
        captured = capsys.readouterr()
        assert captured.out == ""
        assert captured.err.count("\n") == 1
        assert line in captured.err

    def test_an_unknown_command_without_a_lookalike_lists_them_all(self, capsys):
        assert main(["xyzzy"]) == 2
        assert "choose one of " in capsys.readouterr().err


class TestFailures:
    @pytest.mark.parametrize(
        ("error", "code", "line"),
        [
            (ValueError("7 given, 8 expected, add 1"), 1, "glassgpt: error: 7 given, 8 expected, add 1\n"),
            (FileNotFoundError(2, "No such file", "a.txt"), 1, "glassgpt: error: a.txt: No such file\n"),
            (OSError("the disk is full"), 1, "glassgpt: error: the disk is full\n"),
            (UsageError("not both"), 2, "glassgpt: error: not both\n"),
            (KeyboardInterrupt(), 130, "glassgpt: interrupted\n"),
            (
                RuntimeError("out of memory\nat 0x7f"),
                1,
                "glassgpt: error: RuntimeError: out of memory (run again with --debug for the traceback)\n",
            ),
        ],
    )
    def test_become_a_line_and_a_code(self, command, capsys, error, code, line):
        @command
        def fail() -> None:
            raise error

        assert main(["try"]) == code
        assert capsys.readouterr().err == line

    def test_a_value_a_configuration_refuses_is_named(self, command, capsys):
        @command
        def fail() -> None:
            from glassgpt.model.config import ModelConfig

            ModelConfig(num_layers=0)

        assert main(["try"]) == 2
        assert capsys.readouterr().err == "glassgpt: error: num_layers is 0, expected greater than or equal to 1\n"

    @pytest.mark.parametrize("arguments", [["--debug", "try"], ["try", "--debug"]])
    def test_debug_shows_the_traceback_wherever_it_stands(self, command, capsys, arguments):
        @command
        def fail() -> None:
            raise RuntimeError("broken")

        assert main(arguments) == 1
        err = capsys.readouterr().err
        assert "Traceback" in err
        assert err.endswith("glassgpt: error: RuntimeError: broken\n")

    def test_what_follows_two_dashes_is_no_option(self, command, capsys):
        @command
        def echo(text: str) -> None:
            print(text)

        assert main(["try", "--", "--debug"]) == 0
        assert capsys.readouterr().out == "--debug\n"

    def test_a_command_may_have_its_own_exit_code(self, command):
        @command
        def stop() -> int:
            return 143

        assert main(["try"]) == 143

    def test_a_reader_that_leaves_early_is_no_error(self):
        script = f"{sys.executable} -m glassgpt plan gpt2 | true; echo ${{PIPESTATUS[0]}}"
        done = subprocess.run(["bash", "-c", script], capture_output=True, text=True)
        assert done.stderr == ""
        assert done.stdout.strip() in ("0", "1")


class TestPieces:
    def test_suggestions_ignore_case_and_need_likeness(self):
        assert did_you_mean("H1000", ["h100", "a100"]) == "did you mean 'h100'?"
        assert did_you_mean("banana", ["h100", "a100"]) == ""

    def test_json_has_no_number_that_json_lacks(self, capsys):
        print_json({"loss": [1.5, float("nan")], "best": float("-inf"), "text": "é"})
        assert json.loads(capsys.readouterr().out) == {"loss": [1.5, None], "best": None, "text": "é"}

    def test_progress_of_a_short_task_says_nothing(self, capsys):
        with progress("reading", total=2) as update:
            update(1)
            update(2)
        assert capsys.readouterr() == ("", "")

    def test_progress_of_a_long_task_is_a_plain_line_where_there_is_no_terminal(self, capsys, monkeypatch):
        monkeypatch.setattr("glassgpt.cli.options.FIRST_LINE", 0.0)
        with progress("reading", total=4000) as update:
            update(1000, "12 MB/s")
            update(2000, "not due yet")
        assert capsys.readouterr() == ("", "reading: 1,000 of 4,000 (25%) 12 MB/s\n")

    def test_progress_estimates_the_time_left_from_where_it_began(self, capsys, monkeypatch):
        clock = iter([0.0, 100.0, 130.0])  # seconds; what is resumed does not begin at 0
        monkeypatch.setattr("glassgpt.cli.options.time.monotonic", lambda: next(clock))
        with progress("training", total=4000) as update:
            update(1000)
            update(2000, "loss 3")
        said = ["training: 1,000 of 4,000 (25%)", "training: 2,000 of 4,000 (50%), 0:01:00 left loss 3"]
        assert capsys.readouterr().err.splitlines() == said
