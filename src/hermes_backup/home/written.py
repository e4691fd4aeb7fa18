"""Whether a home was written to since a moment, as its files' times tell."""

from __future__ import annotations

import stat
from datetime import datetime
from pathlib import Path


def written_since(root: Path, moment: datetime) -> Path | None:
    """Return a file that was written, made, or deleted from a layer at a moment or after it, below the root; or None.

    Folders do not count, nor do SQLite's ``-shm`` files, and ``-wal`` files by what is in them alone: whoever reads a
    database as root changes the others' times (3.40, seen).
    """
    for entry in sorted(root.rglob("*")):
        info = entry.lstat()
        if stat.S_ISDIR(info.st_mode) or entry.name.endswith("-shm"):
            continue
        changed = info.st_mtime if entry.name.endswith("-wal") else info.st_ctime
        if changed >= moment.timestamp():
            return entry.relative_to(root)
    return None
