"""The command ``glassgpt``: finds the command, runs it, and turns whatever goes wrong into one line and an exit code.

Knows the commands by name only and imports the one that runs. Cyclopts appears here and in the commands' signatures.
"""

from __future__ import annotations

import inspect
import io
import logging
import os
import pkgutil
import re
import sys
import traceback
from collections.abc import Sequence
from typing import TYPE_CHECKING, cast

from glassgpt import __version__
from glassgpt.cli.options import UsageError, console, did_you_mean

if TYPE_CHECKING:
    from cyclopts import App
    from pydantic import ValidationError

# Heading -> (name, function, help line). A module named here imports torch and numpy inside its function, never at the
# top: a command's help must not wait for them.
COMMANDS: dict[str, list[tuple[str, str, str]]] = {
    "Start here": [
        ("demo", "glassgpt.cli.demo:demo", "train a small GPT on Shakespeare and let it write, in two minutes"),
        ("train", "glassgpt.cli.train:train", "train a model on a text, or as a TOML file says"),
        ("verify", "glassgpt.cli.verify:verify", "compute every number of the book's chapter 4 and compare"),
    ],
    "Data": [
        ("prepare", "glassgpt.cli.prepare:prepare", "turn documents into token shards"),
        ("tokens", "glassgpt.cli.tokens:tokens", "show how a text is cut into tokens"),
    ],
    "Model": [
        ("generate", "glassgpt.cli.generate:generate", "continue a text with a model"),
        ("chat", "glassgpt.cli.chat:chat", "talk with a model"),
        ("evaluate", "glassgpt.cli.evaluate:evaluate", "measure how well a model predicts a text"),
        ("plot", "glassgpt.cli.plot:plot", "draw the loss curves of runs"),
        ("replay", "glassgpt.cli.replay:replay", "show the batch that a step of a run learnt from"),
        ("bench", "glassgpt.cli.bench:bench", "measure how fast a model writes on this machine"),
        ("plan", "glassgpt.cli.plan:plan", "show what a model takes: parameters, memory, FLOPs, time"),
    ],
    "Formats": [
        ("convert", "glassgpt.cli.convert:convert", "turn a model into another format, and prove it is the same"),
        (
            "quantize",
            "glassgpt.cli.quantize:quantize",
            "keep a model in eight or four bits, and see what it costs",
        ),
        ("compare", "glassgpt.cli.compare:compare", "find where two models part first, and why"),
        ("info", "glassgpt.cli.info:info", "show what a stored model is, without loading it"),
    ],
    "Trust": [
        ("torture", "glassgpt.cli.torture:torture", "kill and damage training runs on purpose, on your own disk"),
    ],
}

EXAMPLES = [
    'glassgpt generate "It was a dark and stormy night"',
    "glassgpt train my.txt",
    "glassgpt plan gpt2-xl --batch 8 --accelerator h100",
]


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs ``glassgpt ARGUMENTS`` (default: those of the process) and returns the exit code.

    0 done, 1 failed, 2 wrong usage, 130 interrupted; a command may return its own code. ``--debug`` anywhere before a
    lone ``--`` adds the traceback of a failure.
    """
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")  # a terminal that cannot show a character shows a question mark
    tokens = list(sys.argv[1:] if arguments is None else arguments)
    options = tokens[: tokens.index("--")] if "--" in tokens else tokens
    if debug := "--debug" in options:
        tokens.remove("--debug")
    logging.basicConfig(format="glassgpt: %(message)s")
    logging.getLogger("glassgpt").setLevel(logging.DEBUG if debug else logging.INFO)
    try:
        code = run(tokens)
        sys.stdout.flush()
        return code
    except (Exception, KeyboardInterrupt) as error:
        if debug:
            traceback.print_exc()
        return report(error, debug)


def run(tokens: list[str]) -> int:
    """Runs one command line; returns what the command returned, 0 for None.

    Raises:
        UsageError: no such command or option, or a value that cannot be.
    """
    if not tokens or tokens[0] in ("--help", "-h"):
        print_overview()
        return 0
    if tokens[0] == "--version":
        print(f"glassgpt {__version__}")
        return 0
    functions = {name: function for commands in COMMANDS.values() for name, function, _ in commands}
    if tokens[0] not in [*functions, "--install-completion"]:
        hint = did_you_mean(tokens[0], functions) or f"choose one of {', '.join(functions)}"
        raise UsageError(f"there is no command {tokens[0]!r}: {hint}")
    if {"--help", "-h"} & set(tokens) and tokens[0] in functions:
        command = pkgutil.resolve_name(functions[tokens[0]])
        command.__doc__ = unwrapped(command.__doc__ or "")

    from cyclopts import CycloptsError, UnusedCliTokensError

    try:
        result = build_app()(tokens, exit_on_error=False, print_error=False, result_action="return_value")
    except CycloptsError as error:
        error.verbose = False
        what = " ".join(str(error).split())
        if isinstance(error, UnusedCliTokensError):
            what = f"Unexpected: {' '.join(error.unused_tokens or ())}."
        raise UsageError(f"{what} See: glassgpt {tokens[0]} --help") from error
    return result if isinstance(result, int) else 0


def build_app() -> App:
    """The cyclopts application of all commands, none imported yet; a command's help is its docstring."""
    from cyclopts import App, Parameter

    app = App(
        name="glassgpt",
        version=__version__,
        help_format="plaintext",
        default_parameter=Parameter(negative=(), show_default=shown),
        suppress_keyboard_interrupt=False,
    )
    for heading, commands in COMMANDS.items():
        for name, function, _ in commands:
            app.command(function, name=name, group=heading)
    app.register_install_completion_command()
    return app


def unwrapped(docstring: str) -> str:
    """The docstring with a line for each paragraph and argument, so that help fits any terminal; examples stay."""
    return re.sub(r"(?<=\S)\n(?: {8,})?(?=\S)", " ", inspect.cleandoc(docstring))


def shown(default: object) -> str | None:
    """A default as a command's help shows it; off and nothing are not worth showing."""
    return None if default is False or default in (None, (), "") else str(default)


def print_overview() -> None:
    """Prints all commands by heading. Cyclopts would take three times as long to say it."""
    out = console()
    out.print(f"[bold]glassgpt[/] {__version__}: the GPT-2 and GPT-3 family of language models, end to end\n")
    out.print("Usage: glassgpt COMMAND [ARGUMENTS] [OPTIONS]")
    for heading, commands in COMMANDS.items():
        if commands:
            out.print(f"\n[bold]{heading}[/]")
        for name, _, line in commands:
            out.print(f"  [cyan]{name:<10}[/]{line}")
    out.print("\n[bold]Examples[/]", *(f"  {example}" for example in EXAMPLES), sep="\n")
    out.print("\nMore: glassgpt COMMAND --help, --version, --install-completion, --debug")


def report(error: BaseException, debug: bool) -> int:
    """Prints what went wrong in one line on stderr and returns the exit code."""
    if isinstance(error, BrokenPipeError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # or the interpreter complains when it flushes
        return 1
    if isinstance(error, KeyboardInterrupt):
        print("glassgpt: interrupted", file=sys.stderr)
        return 130
    print(f"glassgpt: error: {message(error, debug)}", file=sys.stderr)
    return 2 if isinstance(error, UsageError) or is_invalid_setting(error) else 1


def is_invalid_setting(error: BaseException) -> bool:
    """Whether a configuration refused a value that the user gave."""
    if "pydantic" not in sys.modules:
        return False
    from pydantic import ValidationError

    return isinstance(error, ValidationError)


def message(error: BaseException, debug: bool) -> str:
    """What to tell the user about an error: expected ones speak for themselves, others are named."""
    if isinstance(error, OSError) and error.strerror:
        return error.strerror if error.filename is None else f"{error.filename}: {error.strerror}"
    if is_invalid_setting(error):
        from glassgpt.cli.settings import explain

        return explain(cast("ValidationError", error))
    if isinstance(error, (UsageError, ValueError, OSError, ImportError)):
        return str(error)
    first = (str(error).splitlines() or [""])[0]
    return f"{type(error).__name__}: {first}" + ("" if debug else " (run again with --debug for the traceback)")
