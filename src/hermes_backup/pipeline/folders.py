"""Private folders of runs: made 0700, and gone when the run goes, even where a killed one left its own."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from hermes_backup.streams.process import run


@contextmanager
def private_folder(parent: Path, prefix: str) -> Iterator[Path]:
    """Make a private folder for one run, and remove it afterwards."""
    folder = Path(tempfile.mkdtemp(prefix=prefix, dir=parent))
    try:
        yield folder
    finally:
        remove(folder)


def remove(folder: Path) -> None:
    """Remove a tree even where it holds folders that may not be entered, as restored ones may.

    rm goes as deep as a hostile archive can; shutil.rmtree ends at a thousand levels.
    """
    with suppress(OSError, RecursionError):
        shutil.rmtree(folder)
    if os.path.lexists(folder):
        run(["chmod", "--recursive", "u+rwx", "--", folder], stage="clean")
        run(["rm", "--recursive", "--force", "--", folder], stage="clean")
