"""The first signal asks, the second one ends."""

from __future__ import annotations

import math
import os
import signal
import threading
import weakref
from collections.abc import Iterator

import pytest

from glassgpt.training.interrupt import ECHO, Interrupt


class Alarm:
    def ring(self) -> None:
        raise AssertionError("nothing is overdue")


@pytest.fixture(autouse=True)
def hang_up() -> Iterator[None]:
    """SIGHUP as a terminal has it: these tests may run under nohup."""
    before = signal.signal(signal.SIGHUP, signal.SIG_DFL)
    yield
    signal.signal(signal.SIGHUP, before)


@pytest.mark.parametrize(
    ("number", "code"),
    [(signal.SIGINT, 130), (signal.SIGTERM, 143), (signal.SIGUSR1, 143), (signal.SIGHUP, 143)],
    ids=lambda value: str(value),
)
def test_a_signal_asks_to_stop(number, code):
    with Interrupt() as interrupt:
        assert not interrupt and interrupt.exit_code == 0
        os.kill(os.getpid(), number)
        assert interrupt and interrupt.exit_code == code


@pytest.mark.parametrize("first", [signal.SIGTERM, signal.SIGINT], ids=str)
def test_a_second_signal_ends_the_process(first):
    with pytest.raises(SystemExit) as ending, Interrupt():
        os.kill(os.getpid(), first)
        os.kill(os.getpid(), signal.SIGINT)
    assert ending.value.code == 1


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGUSR1], ids=str)
def test_an_echo_is_no_second_signal(number):
    with pytest.raises(SystemExit), Interrupt() as interrupt:
        os.kill(os.getpid(), number)
        os.kill(os.getpid(), number)
        assert interrupt.exit_code == 143
        interrupt.since -= ECHO
        os.kill(os.getpid(), number)


@pytest.mark.parametrize("first", [signal.SIGHUP, signal.SIGINT], ids=str)
def test_a_terminal_that_closes_is_no_second_signal(first):
    with Interrupt() as interrupt:
        os.kill(os.getpid(), first)
        os.kill(os.getpid(), signal.SIGHUP)
        assert interrupt


def test_nohup_is_respected():
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        with Interrupt() as interrupt:
            os.kill(os.getpid(), signal.SIGHUP)
            assert not interrupt
    finally:
        signal.signal(signal.SIGHUP, before)


def test_handlers_are_as_before_afterwards():
    before = signal.getsignal(signal.SIGTERM)
    with Interrupt():
        assert signal.getsignal(signal.SIGTERM) != before
    assert signal.getsignal(signal.SIGTERM) == before


@pytest.mark.parametrize("ends_in_time", [True, False])
def test_who_is_asked_to_stop_is_watched_until_the_end(ends_in_time):
    overdue = threading.Event()
    with Interrupt() as interrupt:
        interrupt.watch(math.inf if ends_in_time else 0.0, overdue.set)
        os.kill(os.getpid(), signal.SIGTERM)
        assert overdue.wait(0.0 if ends_in_time else 60.0) == (not ends_in_time)


def test_without_a_signal_nothing_is_overdue():
    overdue = threading.Event()
    with Interrupt() as interrupt:
        interrupt.watch(0.0, overdue.set)
    assert not overdue.is_set()


def test_after_the_end_no_thread_holds_what_was_watched():
    with Interrupt() as interrupt:
        alarm = Alarm()
        held = weakref.ref(alarm)
        interrupt.watch(math.inf, alarm.ring)
        del alarm
        assert held() is not None
    # Freed in a thread while the interpreter ends, a model would abort the process.
    assert held() is None


def test_other_threads_may_train_too():
    def enter() -> None:
        with Interrupt() as interrupt:
            results.append(bool(interrupt))

    results: list[bool] = []
    thread = threading.Thread(target=enter)
    thread.start()
    thread.join()
    assert results == [False]
