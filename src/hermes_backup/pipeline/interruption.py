"""SIGTERM taken as Ctrl-C is: both end the run cleanly, and a second one does not disturb the cleaning up."""

from __future__ import annotations

import os
import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

_ENDING = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)  # a terminal that goes leaves nothing plain behind
_AGAIN = 0.01  # seconds


@contextmanager
def interruptible() -> Iterator[None]:
    """Raise KeyboardInterrupt on the first SIGINT, SIGTERM or SIGHUP inside the block, and ignore further ones.

    One that came in a finalizer, where Python drops what is raised (sys.unraisablehook), is raised again after it.
    """

    def interrupt(number: int, frame: FrameType | None) -> None:
        del number, frame
        undisturbed()
        raise KeyboardInterrupt

    def dropped(unraisable: sys.UnraisableHookArgs) -> None:
        if not isinstance(unraisable.exc_value, KeyboardInterrupt):
            hook(unraisable)
            return
        for number in _ENDING:
            signal.signal(number, interrupt)
        again.append(threading.Timer(_AGAIN, os.kill, (os.getpid(), signal.SIGINT)))
        again[-1].start()

    again: list[threading.Timer] = []
    before = {number: signal.signal(number, interrupt) for number in _ENDING}
    hook, sys.unraisablehook = sys.unraisablehook, dropped
    try:
        yield
    finally:
        sys.unraisablehook = hook
        pending = any(it.is_alive() for it in again)
        for timer in again:
            timer.cancel()
            timer.join()
        for number, handler in before.items():
            signal.signal(number, handler)
    if pending:
        raise KeyboardInterrupt


def undisturbed() -> None:
    """Ignore these signals from now on, to the end of the :func:`interruptible` block around."""
    for number in _ENDING:
        signal.signal(number, signal.SIG_IGN)
