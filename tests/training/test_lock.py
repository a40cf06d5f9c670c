import errno
import fcntl
import json
import os
import signal
import socket
import time
from pathlib import Path

import pytest

from glassgpt.training.lock import exclusive
from glassgpt.training.torture.victim import Announce, Victim


def test_the_second_holder_is_refused_and_told_who_the_first_is(tmp_path: Path) -> None:
    with (
        exclusive(tmp_path / ".lock"),
        pytest.raises(ValueError, match=f"in use by process {os.getpid()} on {socket.gethostname()}"),
        exclusive(tmp_path / ".lock"),
    ):
        pass


def test_it_can_be_taken_again_after_the_block_and_after_an_error(tmp_path: Path) -> None:
    with pytest.raises(KeyError), exclusive(tmp_path / ".lock"):
        raise KeyError
    with exclusive(tmp_path / ".lock"):
        record = json.loads((tmp_path / ".lock").read_text())
    assert record["pid"] == os.getpid()
    assert (tmp_path / ".lock").read_text() == ""


def test_a_file_system_without_locks_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def flock(fd: int, operation: int) -> None:  # as Lustre's, mounted without -o flock
        raise OSError(errno.ENOSYS, os.strerror(errno.ENOSYS))

    monkeypatch.setattr(fcntl, "flock", flock)
    message = r"\.lock cannot be locked: Function not implemented\. Choose a directory"
    with pytest.raises(OSError, match=message), exclusive(tmp_path / ".lock"):
        pass


def test_a_killed_holder_leaves_no_lock(tmp_path: Path) -> None:
    def hold(announce: Announce) -> None:
        with exclusive(tmp_path / ".lock"):
            announce(1)
            time.sleep(60)

    victim = Victim(hold)
    victim.hear()
    with pytest.raises(ValueError, match=f"process {victim.pid}"), exclusive(tmp_path / ".lock"):
        pass
    victim.kill(signal.SIGKILL)
    assert victim.wait().code == -signal.SIGKILL
    with exclusive(tmp_path / ".lock"):
        pass


def test_a_lock_of_another_host_is_not_taken_over(tmp_path: Path) -> None:
    (tmp_path / ".lock").write_text(json.dumps({"pid": 1, "host": "elsewhere", "started": 0}))
    with (
        pytest.raises(ValueError, match="process 1 on elsewhere: if it has ended, delete"),
        exclusive(tmp_path / ".lock"),
    ):
        pass


@pytest.mark.parametrize("content", ["", "{", "[]", "?" * 5000])
def test_an_unreadable_record_does_not_matter(tmp_path: Path, content: str) -> None:
    (tmp_path / ".lock").write_text(content)
    with exclusive(tmp_path / ".lock"):
        pass
