"""Which files are mounted through a loop device or held open, as squashfuse holds an image that it shows."""

from __future__ import annotations

import os
from collections.abc import Collection, Iterator
from pathlib import Path

from hermes_backup.home.processes import Identity, identity, open_files, processes

_DELETED = " (deleted)"


def in_use(files: Collection[Path]) -> frozenset[Path]:
    """Return those of the files that a loop device or another process has open, by device and inode.

    Processes of other users stay unseen unless we are root.
    """
    wanted = {it: seen for it in files if (seen := identity(it)) is not None}
    if not wanted:
        return frozenset()
    backing = tuple(_backing_files())
    held: set[Identity | None] = {identity(it) for it in backing}
    held |= {one.identity for pid in processes() for one in open_files(pid)}
    # a path of another mount namespace may lead nowhere here: then the name alone must do
    strange = {it.name.removesuffix(_DELETED) for it in backing if identity(it) is None}
    return frozenset(it for it, seen in wanted.items() if seen in held or it.name in strange)


def _backing_files() -> Iterator[Path]:
    """Yield the paths of the files behind loop devices; sysfs shows them where no device can be opened."""
    for device in Path("/sys/block").glob("loop*"):
        try:
            yield Path(os.fsdecode((device / "loop" / "backing_file").read_bytes().rstrip(b"\n")))
        except OSError:
            continue  # nothing is behind it
