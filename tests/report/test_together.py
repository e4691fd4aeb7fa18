"""Several slow looks at once: in order, with their failures, and without waiting for the slowest at the end."""

from __future__ import annotations

import subprocess
import sys
import threading
import time
from functools import partial

import pytest

from hermes_backup.report.together import Together


def test_results_come_in_the_order_of_the_calls() -> None:
    def slow(value: int) -> int:
        time.sleep(0.02 * (5 - value))
        return value

    assert Together([partial(slow, it) for it in range(5)]).results() == (0, 1, 2, 3, 4)
    assert Together([]).results() == ()


def test_no_more_than_so_many_at_a_time() -> None:
    running, most, lock = 0, 0, threading.Lock()

    def count() -> None:
        nonlocal running, most
        with lock:
            running += 1
            most = max(most, running)
        time.sleep(0.02)
        with lock:
            running -= 1

    Together([count] * 12, most=3).results()
    assert most == 3


def test_what_breaks_in_one_is_raised_where_the_results_are_wanted() -> None:
    def broken() -> int:
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        Together([lambda: 1, broken]).results()


def test_what_is_under_way_may_clean_up_and_what_waits_never_begins() -> None:
    cleaned, began = threading.Event(), []

    def first() -> None:
        time.sleep(0.3)
        cleaned.set()

    with pytest.raises(KeyboardInterrupt), Together([first, lambda: began.append(1)], most=1):
        raise KeyboardInterrupt
    assert (cleaned.is_set(), began) == (True, [])


def test_it_does_not_wait_for_one_that_never_ends() -> None:
    start = time.monotonic()
    with pytest.raises(KeyboardInterrupt), Together([partial(time.sleep, 20)]):
        raise KeyboardInterrupt
    assert time.monotonic() - start < 5


def test_the_program_ends_without_waiting_for_a_look_that_never_ends() -> None:
    code = "from hermes_backup.report.together import Together; import time; Together([lambda: time.sleep(60)])"
    subprocess.run([sys.executable, "-c", code], check=True, timeout=40)
