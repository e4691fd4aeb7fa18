"""Private folders of runs: made 0700, and gone when the run goes, even where a killed one left its own."""

from __future__ import annotations

import fcntl
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from hermes_backup.streams.process import run


@contextmanager
def private_folder(parent: Path, prefix: str) -> Iterator[Path]:
    """Make a private folder for one run, locked as long as it lives, and remove it afterwards."""
    folder = Path(tempfile.mkdtemp(prefix=prefix, dir=parent))
    with _opened(folder) as descriptor:
        _locked(descriptor)
        try:
            yield folder
        finally:
            remove(folder)


def sweep(parent: Path, prefix: str) -> None:
    """Remove the private folders that killed runs of this user left; one that can be locked belongs to nobody."""
    for left in parent.glob(f"{prefix}*"):
        with suppress(OSError), _opened(left) as descriptor:
            if os.fstat(descriptor).st_uid == os.geteuid() and _locked(descriptor):
                remove(left)


@contextmanager
def _opened(folder: Path) -> Iterator[int]:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        yield descriptor
    finally:
        os.close(descriptor)


def _locked(descriptor: int) -> bool:
    """Lock a folder if nobody else does; some network file systems cannot, and there nothing is swept."""
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False
    return True


def remove(folder: Path) -> None:
    """Remove a tree even where it holds folders that may not be entered, as restored ones may.

    rm goes as deep as a hostile archive can; shutil.rmtree ends at a thousand levels.
    """
    with suppress(OSError, RecursionError):
        shutil.rmtree(folder)
    if os.path.lexists(folder):
        run(["chmod", "--recursive", "u+rwx", "--", folder], stage="clean")
        run(["rm", "--recursive", "--force", "--", folder], stage="clean")
