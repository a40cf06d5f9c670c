"""The first signal asks, the second one ends."""

from __future__ import annotations

import os
import signal
import threading

import pytest

from glassgpt.training.interrupt import Interrupt


@pytest.mark.parametrize(
    ("number", "code"),
    [(signal.SIGINT, 130), (signal.SIGTERM, 143), (signal.SIGUSR1, 143)],
    ids=lambda value: str(value),
)
def test_a_signal_asks_to_stop(number, code):
    with Interrupt() as interrupt:
        assert not interrupt and interrupt.exit_code == 0
        os.kill(os.getpid(), number)
        assert interrupt and interrupt.exit_code == code


def test_a_second_signal_ends_the_process():
    with pytest.raises(SystemExit) as ending, Interrupt():
        os.kill(os.getpid(), signal.SIGTERM)
        os.kill(os.getpid(), signal.SIGINT)
    assert ending.value.code == 1


def test_handlers_are_as_before_afterwards():
    before = signal.getsignal(signal.SIGTERM)
    with Interrupt():
        assert signal.getsignal(signal.SIGTERM) != before
    assert signal.getsignal(signal.SIGTERM) == before


def test_other_threads_may_train_too():
    def enter() -> None:
        with Interrupt() as interrupt:
            results.append(bool(interrupt))

    results: list[bool] = []
    thread = threading.Thread(target=enter)
    thread.start()
    thread.join()
    assert results == [False]
