"""The program, with a SIGTERM at one moment of it: when a block was entered, and who entered it does not know yet.

Usage: half_entered.py BLOCK ARGUMENT…; BLOCK is the name of a function that contextlib.contextmanager decorates; the
first one counts that is entered while the program takes signals.
"""

from __future__ import annotations

import contextlib
import os
import signal
import sys
from typing import TYPE_CHECKING

from hermes_backup.cli.app import main

if TYPE_CHECKING:
    from types import FrameType

    from _typeshed import TraceFunction

block = sys.argv.pop(1)


def entering(frame: FrameType, event: str, argument: object) -> TraceFunction | None:
    del event, argument
    code = frame.f_code
    if (code.co_filename, code.co_name) == (contextlib.__file__, "__enter__"):
        generator = getattr(frame.f_locals["self"], "gen", None)
        taken = signal.getsignal(signal.SIGTERM) is not signal.SIG_DFL
        if taken and generator is not None and generator.gi_code.co_name == block:
            return entered
    return None


def entered(frame: FrameType, event: str, argument: object) -> TraceFunction:
    del frame, argument
    if event == "return":
        sys.settrace(None)
        os.kill(os.getpid(), signal.SIGTERM)
    return entered


sys.settrace(entering)
main()
