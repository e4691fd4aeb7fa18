"""A program of Python's that is killed, as by kill -9, before it does one thing to one path.

Usage: dying.py EVENT PATTERN PYTHON -m hermes_backup ARGUMENTS... EVENT is one of Python's audit events ("Audit events
table"), PATTERN is of the path, as fnmatch has it; of two paths the second counts.
"""

from __future__ import annotations

import os
import signal
import sys
from fnmatch import fnmatch

from hermes_backup.cli.app import main

event, pattern = sys.argv[1:3]


def watch(name: str, arguments: tuple[object, ...]) -> None:
    if name == event:
        path = [os.fsdecode(it) for it in arguments if isinstance(it, (str, bytes, os.PathLike))][-1]
        if fnmatch(path, pattern):
            os.kill(os.getpid(), signal.SIGKILL)


sys.argv[1:] = sys.argv[6:]
sys.addaudithook(watch)
main()
