"""Waiting for what another process is about to do."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")


def until(answer: Callable[[], T | None], seconds: float = 120.0, pause: float = 0.01) -> T:
    """Return the first answer that is true; an OSError is none yet, since what is asked for may come just now."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        try:
            if found := answer():
                return found
        except OSError:
            pass
        time.sleep(pause)
    raise AssertionError(f"it did not come to be in {seconds} s")
