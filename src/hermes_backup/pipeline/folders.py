"""Private folders of runs: made 0700, and gone when the run goes, even where a killed one left its own."""

from __future__ import annotations

import contextlib
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any


@contextmanager
def private_folder(parent: Path, prefix: str) -> Iterator[Path]:
    """Make a private folder for one run, and remove it afterwards."""
    folder = Path(tempfile.mkdtemp(prefix=prefix, dir=parent))
    try:
        yield folder
    finally:
        remove(folder)


def remove(folder: Path) -> None:
    """Remove a tree even where it holds folders that may not be entered, as restored ones may be."""

    def open_up(function: Any, path: str, _error: Any) -> None:
        with contextlib.suppress(OSError):
            Path(path).parent.chmod(0o700)
            Path(path).chmod(0o700)
            function(path)

    shutil.rmtree(folder, onerror=open_up)
