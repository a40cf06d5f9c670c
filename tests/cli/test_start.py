"""Garbage collection waits until a command has started, and then goes on as ever."""

import gc
import subprocess
import sys

SCRIPT = """
import gc
from glassgpt.cli.start import FEW, postpone_collection

usual = gc.get_threshold()
postpone_collection(patience={patience})
assert gc.get_threshold() == (FEW, *usual[1:])
kept = [[] for _ in range(2 * FEW)]
print(gc.get_threshold() == usual, gc.get_freeze_count() > FEW, len(gc.callbacks))
"""


def after(patience: float) -> str:
    command = [sys.executable, "-c", SCRIPT.format(patience=patience)]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()


def test_the_usual_pace_comes_back_once_the_command_has_started():
    assert after(0.0) == "True True 0"


def test_until_then_collections_are_rare():
    assert after(3600.0) == "False False 1"


def test_only_the_process_of_a_command_is_concerned():
    from glassgpt.cli.main import main

    before = gc.get_threshold()
    assert main(["--version"]) == 0
    assert gc.get_threshold() == before
