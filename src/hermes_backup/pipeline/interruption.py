"""SIGTERM taken as Ctrl-C is: both end the run cleanly, and a second one does not disturb the cleaning up."""

from __future__ import annotations

import os
import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

from hermes_backup.errors import INTERRUPTED, Fault, from_system

_ENDING = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)  # a terminal that goes leaves nothing plain behind
_AGAIN = 0.01  # seconds


class _Interrupt:
    """What the first signal calls."""

    def __call__(self, number: int, frame: FrameType | None) -> None:
        del number, frame
        undisturbed()
        raise KeyboardInterrupt


@contextmanager
def interruptible() -> Iterator[None]:
    """Raise KeyboardInterrupt on the first SIGINT, SIGTERM or SIGHUP inside the block, and ignore further ones.

    Inside another such block it is part of that one, so that what the outer one cleans up is not disturbed either.
    One that came in a finalizer, where Python drops what is raised (sys.unraisablehook), is raised again after it.
    """
    if isinstance(signal.getsignal(signal.SIGTERM), _Interrupt):
        yield
        return

    def dropped(unraisable: sys.UnraisableHookArgs) -> None:
        if not isinstance(unraisable.exc_value, KeyboardInterrupt):
            hook(unraisable)
            return
        for number in _ENDING:
            signal.signal(number, interrupt)
        again.append(threading.Timer(_AGAIN, os.kill, (os.getpid(), signal.SIGINT)))
        again[-1].start()

    interrupt = _Interrupt()
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


@contextmanager
def stoppable(what: str) -> Iterator[None]:
    """Take a signal, and what the system refuses, as a fault of ``what``, which changes nothing that stays.

    Raises:
        Fault: INTERRUPTED; else as :func:`hermes_backup.errors.from_system`.
    """
    with interruptible():
        try:
            yield
        except KeyboardInterrupt:
            raise Fault(INTERRUPTED, "stopped by a signal; nothing was changed", where=what) from None
        except OSError as error:
            raise from_system(error, what) from None


def undisturbed() -> None:
    """Ignore these signals from now on, to the end of the :func:`interruptible` block around."""
    for number in _ENDING:
        signal.signal(number, signal.SIG_IGN)
