"""The fuzzer's quick tier: 20,000 files of every format. A million: python scripts/fuzz.py --trials 1000000."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parents[2] / "scripts" / "fuzz.py"


def fuzz(*arguments: str) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    return subprocess.run([sys.executable, SCRIPT, *arguments], capture_output=True, text=True, env=environment)


def test_hostile_files_are_refused_and_nothing_else_happens():
    done = fuzz("--trials", "20000")
    assert done.returncode == 0, done.stdout + done.stderr
    rows = {line.split()[0]: line.replace(",", "").split()[1:] for line in done.stdout.splitlines()[1:]}
    for name, (trials, accepted, refused, *others, _, _) in rows.items():
        assert int(trials) >= 20_000
        assert int(accepted) > 100, f"hardly a mutation of {name} stayed valid: the seed is broken"
        assert int(refused) > 2000, f"hardly a mutation of {name} broke a rule"
        assert others == ["0"] * 5, "message, crash, hang, audit, death"


def test_the_fuzzer_finds_careless_readers():
    done = fuzz("--controls")
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.release
def test_a_million_hostile_files():
    done = fuzz("--trials", "1000000")
    assert done.returncode == 0, done.stdout + done.stderr
