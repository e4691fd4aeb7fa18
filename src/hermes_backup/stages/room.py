"""Is there room for what a snapshot says it holds? Asked before it is written: its host says how much that is."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from hermes_backup.errors import DISK_FULL, Fault
from hermes_backup.home.printable import printable
from hermes_backup.snapshots.manifest import Manifest
from hermes_backup.streams.members import Member

_INDEXES = 4  # times what is kept: of a Hermes state.db four fifths are search indexes (measured)


def unpacked_size(manifest: Manifest, members: Sequence[Member]) -> int:
    """Return how many bytes these members need on a disk at most.

    Holes of sparse files need none, and a tar archive holds none: what comes out of it needs no more than it has. In an
    image nothing tells holes from content.
    """
    size = sum(it.size for it in members if it.kind == "file")
    return size if manifest.format == "squashfs" else min(size, manifest.data.plain_size)


def indexes_size(size: int) -> int:
    """Return how many bytes search indexes take, about, that are made in a database of so many."""
    return size * _INDEXES


def require_room(folder: Path, needed: int, where: str = "") -> None:
    """Make sure that a folder's file system has so many bytes free; ``where`` is what an error calls the folder.

    Raises:
        Fault: DISK_FULL.
    """
    free = free_in(folder)
    if needed > free:
        raise Fault(DISK_FULL, f"it needs {needed} bytes, {free} are free", where=printable(where or str(folder)))


def free_in(folder: Path) -> int:
    """Return how many bytes a folder's file system has free for us."""
    told = os.statvfs(folder)
    return told.f_bavail * told.f_frsize
