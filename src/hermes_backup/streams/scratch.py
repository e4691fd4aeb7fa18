"""Private folders under a short path, gone when their maker is done, and soon after where it was killed.

They lie in the system's folder for temporaries because gpg-agent's sockets lie in some of them, and a socket's path
has 107 bytes (unix(7)). Each is locked while its maker lives: one that can be locked belongs to nobody.
"""

from __future__ import annotations

import fcntl
import os
import re
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

_PREFIX = "hb-scratch-"
_OURS = re.compile(_PREFIX + "[a-z0-9_]{8}")  # as mkdtemp ends its names
_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC


@contextmanager
def scratch() -> Iterator[Path]:
    """Make a folder, 0700, and remove it afterwards."""
    folder, descriptor = _made()
    try:
        yield folder
    finally:
        try:
            shutil.rmtree(folder, ignore_errors=True)  # an agent that ends removes its sockets at the same time
        finally:
            os.close(descriptor)


def sweep() -> None:
    """Remove the folders that killed processes of this user left."""
    with suppress(OSError):
        for path in Path(tempfile.gettempdir()).iterdir():
            if _OURS.fullmatch(path.name):
                _sweep(path)


def _made() -> tuple[Path, int]:
    while True:
        folder = Path(tempfile.mkdtemp(prefix=_PREFIX))
        with suppress(FileNotFoundError):  # swept before it was locked: once more
            descriptor = os.open(folder, _DIRECTORY)
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX)
                folder.stat()
            except BaseException:
                os.close(descriptor)
                raise
            return folder, descriptor


def _sweep(path: Path) -> None:
    with suppress(OSError):
        descriptor = os.open(path, _DIRECTORY)
        try:
            if os.fstat(descriptor).st_uid == os.geteuid():
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                shutil.rmtree(path, ignore_errors=True)
        finally:
            os.close(descriptor)
