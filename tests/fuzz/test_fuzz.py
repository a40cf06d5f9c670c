"""The fuzzer's short run: 500 mutations of every kind of file. More by hand: python scripts/fuzz.py --count 1000000."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parents[2] / "scripts" / "fuzz.py"


def fuzz(*arguments: str) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    return subprocess.run(
        [sys.executable, SCRIPT, *arguments], capture_output=True, text=True, env=environment, timeout=280
    )


def test_hostile_files_are_refused_and_nothing_else_happens():
    done = fuzz("--count", "500", "--jobs", "2")
    assert done.returncode == 0, done.stdout + done.stderr
    rows = {line.split()[0]: line.split()[1:-1] for line in done.stdout.splitlines()[1:]}
    for kind, (accepted, refused, *others) in rows.items():
        assert int(accepted) > 0, f"no mutation of {kind} stayed valid: the seed is broken"
        assert int(refused) > 50, f"hardly a mutation of {kind} broke a rule"
        assert others == ["0"] * 5


def test_the_fuzzer_finds_careless_readers():
    done = fuzz("--controls")
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.release
def test_a_million_hostile_files():
    done = fuzz("--count", "1000000")
    assert done.returncode == 0, done.stdout + done.stderr
