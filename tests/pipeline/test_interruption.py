"""A signal ends a run wherever it comes."""

from __future__ import annotations

import os
import signal
import threading
import time
from pathlib import Path

import pytest

from hermes_backup.pipeline.interruption import interruptible
from hermes_backup.streams.folders import private_folder

ENDING = [signal.SIGINT, signal.SIGTERM, signal.SIGHUP]


class _Slow:
    """Takes its time when it goes, as a child that is waited for does."""

    def __del__(self) -> None:
        until = time.monotonic() + 0.3
        while time.monotonic() < until:
            time.sleep(0.01)


def _send(number: signal.Signals) -> None:
    threading.Timer(0.1, os.kill, (os.getpid(), number)).start()


@pytest.mark.parametrize("number", ENDING)
def test_a_signal_in_a_finalizer_ends_the_run_after_it(number: signal.Signals) -> None:
    def work() -> None:
        with interruptible():
            _send(number)
            _Slow()
            time.sleep(20)

    began = time.monotonic()
    with pytest.raises(KeyboardInterrupt):
        work()
    assert time.monotonic() - began < 5


def test_a_signal_in_the_last_finalizer_of_a_block_is_raised_at_its_end() -> None:
    def work() -> None:
        with interruptible():
            _send(signal.SIGTERM)
            _Slow()

    with pytest.raises(KeyboardInterrupt):
        work()


@pytest.mark.parametrize("number", ENDING)
def test_a_second_signal_does_not_disturb_the_cleaning_up(number: signal.Signals) -> None:
    cleaned: list[bool] = []

    def work() -> None:
        with interruptible():
            try:
                _send(number)
                time.sleep(20)
            finally:
                os.kill(os.getpid(), number)
                time.sleep(0.05)
                cleaned.append(True)

    with pytest.raises(KeyboardInterrupt):
        work()
    assert cleaned


def test_a_second_signal_does_not_disturb_what_the_outer_of_two_blocks_cleans_up() -> None:
    cleaned: list[bool] = []

    def work() -> None:
        with interruptible():
            try:
                with interruptible():
                    _send(signal.SIGINT)
                    time.sleep(20)
            finally:
                os.kill(os.getpid(), signal.SIGTERM)
                time.sleep(0.05)
                cleaned.append(True)

    with pytest.raises(KeyboardInterrupt):
        work()
    assert cleaned


def test_a_signal_while_a_private_folder_is_emptied_leaves_nothing_of_it(tmp_path: Path) -> None:
    def work() -> None:
        with interruptible(), private_folder(tmp_path, "mine-") as folder:
            for number in range(20_000):
                (folder / str(number)).touch()
            _send(signal.SIGTERM)
            time.sleep(0.09)  # it comes 0.1 s after it was sent

    with pytest.raises(KeyboardInterrupt):
        work()
    assert list(tmp_path.iterdir()) == []


def test_afterwards_signals_are_what_they_were() -> None:
    before = [signal.getsignal(it) for it in ENDING]
    with interruptible():
        assert [signal.getsignal(it) for it in ENDING] != before
    assert [signal.getsignal(it) for it in ENDING] == before
