"""Starting processes on this machine, and what their end means."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from glassgpt.parallel.launch import launch


def script(path: Path, text: str) -> list[str]:
    """The arguments that make Python run the text, which knows its ``rank``."""
    path.write_text("import os, signal, sys, time\nrank = int(os.environ['RANK'])\n" + text)
    return [str(path)]


def test_every_process_knows_its_place(tmp_path):
    text = "open(sys.argv[1] + os.environ['RANK'], 'w').write(os.environ['WORLD_SIZE'] + os.environ['LOCAL_RANK'])"
    assert launch([*script(tmp_path / "job.py", text), f"{tmp_path}/rank-"], processes=2) == 0
    assert [path.read_text() for path in sorted(tmp_path.glob("rank-*"))] == ["20", "21"]


def test_the_exit_code_is_that_of_the_rank_that_failed(tmp_path):
    assert launch(script(tmp_path / "job.py", "time.sleep(100 * rank)\nsys.exit(3)"), processes=2) == 3


def test_a_killed_rank_is_named(tmp_path):
    text = "if rank == 1: os.kill(os.getpid(), signal.SIGKILL)\ntime.sleep(100)"
    with pytest.raises(ChildProcessError, match=r"rank 1 \(process \d+\) was killed by SIGKILL"):
        launch(script(tmp_path / "job.py", text), processes=2)


@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 143), (signal.SIGINT, 130)])
def test_a_signal_reaches_every_rank_once(tmp_path, number, code):
    text = """
def stop(number, frame):
    with open(sys.argv[1], 'a') as file:
        file.write(f'{rank}:{number} ')
    time.sleep(0.5)
    sys.exit(128 + number)
signal.signal(signal.SIGTERM, stop)
signal.signal(signal.SIGINT, stop)
open(sys.argv[1] + str(rank), 'w')
time.sleep(100)
"""
    arguments = [*script(tmp_path / "job.py", text), str(tmp_path / "heard")]
    program = f"import sys; from glassgpt.parallel.launch import launch; sys.exit(launch({arguments}, 2))"
    launcher = subprocess.Popen([sys.executable, "-c", program])
    try:
        while len(list(tmp_path.glob("heard?"))) < 2:
            time.sleep(0.1)
        launcher.send_signal(number)
        assert launcher.wait(30) == code
    finally:
        launcher.kill()
    assert sorted((tmp_path / "heard").read_text().split()) == [f"0:{number.value}", f"1:{number.value}"]
