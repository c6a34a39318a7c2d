"""Ctrl-C while Tune runs: first a word to the workers, then the usual."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator

import pytest

from clusterbench.bench.scheduling.interruption import NOTE, Interruption


@pytest.fixture(autouse=True)
def heard() -> Iterator[None]:
    """Ctrl-C as in a terminal: a shell lets what it starts in the background ignore it."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


def test_the_first_ctrl_c_is_noted_once_and_the_second_is_the_usual_one() -> None:
    told: list[str] = []
    interruption, before = Interruption(told.append), signal.getsignal(signal.SIGINT)
    with interruption.heeded():
        assert not interruption.is_heard()
        signal.raise_signal(signal.SIGINT)
        assert interruption.happened and told == [], "nothing is printed by the handler of a signal itself"
        assert interruption.is_heard() and interruption.is_heard()
        assert told == [NOTE]
        with pytest.raises(KeyboardInterrupt):
            signal.raise_signal(signal.SIGINT)
    assert signal.getsignal(signal.SIGINT) is before


def test_ctrl_c_is_the_usual_one_again_afterwards() -> None:
    interruption = Interruption()
    with interruption.heeded():
        pass
    with pytest.raises(KeyboardInterrupt):
        signal.raise_signal(signal.SIGINT)
    assert not interruption.happened


def test_outside_the_main_thread_nothing_is_taken_over() -> None:
    handlers: list[object] = []

    def work() -> None:
        with Interruption().heeded():
            handlers.append(signal.getsignal(signal.SIGINT))

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert handlers == [signal.getsignal(signal.SIGINT)]
