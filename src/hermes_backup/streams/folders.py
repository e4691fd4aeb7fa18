"""Private folders: made 0700, locked while their maker lives, and gone when it goes, even where it was killed.

One that can be locked belongs to nobody. Where a network file system knows no locks, nothing is swept.
"""

from __future__ import annotations

import fcntl
import os
import re
import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from hermes_backup.streams.process import run

_ENDING = "[a-z0-9_]{8}"  # as mkdtemp ends its names
_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC


@contextmanager
def private_folder(parent: Path, prefix: str) -> Iterator[Path]:
    """Make a private folder, locked as long as it lives, and remove it afterwards."""
    folder, descriptor = _made(parent, prefix)
    try:
        yield folder
    finally:
        try:
            remove(folder)
        finally:
            os.close(descriptor)


def sweep(parent: Path, prefix: str, before: Callable[[Path], None] = lambda _: None) -> None:
    """Remove the private folders that killed processes of this user left; ``before`` is called with each."""
    ours = re.compile(re.escape(prefix) + _ENDING)
    with suppress(OSError):
        for path in parent.iterdir():
            if ours.fullmatch(path.name):
                _sweep(path, before)


def remove(folder: Path) -> None:
    """Remove a tree even where it holds folders that may not be entered, as restored ones may.

    rm goes as deep as a hostile archive can; shutil.rmtree ends at a thousand levels.
    """
    with suppress(RecursionError):
        shutil.rmtree(folder, ignore_errors=True)  # a gpg-agent that ends removes its sockets at the same time
    if os.path.lexists(folder):
        run(["chmod", "--recursive", "u+rwx", "--", folder], stage="clean")
        run(["rm", "--recursive", "--force", "--", folder], stage="clean")


def _made(parent: Path, prefix: str) -> tuple[Path, int]:
    while True:
        folder = Path(tempfile.mkdtemp(prefix=prefix, dir=parent))
        with suppress(FileNotFoundError):  # swept before it was locked: once more
            descriptor = os.open(folder, _DIRECTORY)
            try:
                _locked(descriptor)
                folder.stat()
            except BaseException:
                os.close(descriptor)
                raise
            return folder, descriptor


def _sweep(path: Path, before: Callable[[Path], None]) -> None:
    with suppress(OSError):
        descriptor = os.open(path, _DIRECTORY)
        try:
            if os.fstat(descriptor).st_uid == os.geteuid() and _locked(descriptor):
                before(path)
                remove(path)
        finally:
            os.close(descriptor)


def _locked(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False
    return True
