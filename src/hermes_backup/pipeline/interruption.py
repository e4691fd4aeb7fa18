"""SIGTERM taken as Ctrl-C is: both end the run cleanly, and a second one does not disturb the cleaning up."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

_ENDING = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)  # a terminal that goes leaves nothing plain behind


@contextmanager
def interruptible() -> Iterator[None]:
    """Raise KeyboardInterrupt on the first SIGINT, SIGTERM or SIGHUP inside the block, and ignore further ones."""

    def interrupt(number: int, frame: FrameType | None) -> None:
        del number, frame
        for one in _ENDING:
            signal.signal(one, signal.SIG_IGN)
        raise KeyboardInterrupt

    before = {number: signal.signal(number, interrupt) for number in _ENDING}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def undisturbed() -> None:
    """Ignore these signals from now on, to the end of the :func:`interruptible` block around."""
    for number in _ENDING:
        signal.signal(number, signal.SIG_IGN)
