"""What is mounted at a folder or below it, by the kernel's own list: a bind mount shows the same device."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from pathlib import Path

_ESCAPED = re.compile(rb"\\([0-7]{3})")


def mounts_in(folder: Path) -> tuple[bytes, ...]:
    """Return the mount points at a folder and below it (proc(5), mountinfo: the fifth field, its spaces as octal)."""
    root = _real(folder)
    lines = Path("/proc/self/mountinfo").read_bytes().splitlines()
    points = (_ESCAPED.sub(lambda it: bytes([int(it[1], 8)]), line.split(b" ")[4]) for line in lines)
    return tuple(it for it in points if it == root or it.startswith(root + b"/"))


@dataclass(frozen=True)
class Mounted:
    """What is mounted somewhere: its file system, what it calls its source, and its own options."""

    kind: bytes
    source: bytes
    options: bytes


def mounted_at(folder: Path) -> Mounted | None:
    """Return what is mounted at a folder, the last where there are several; None where nothing is (proc(5))."""
    point = _real(folder)
    found = None
    for line in Path("/proc/self/mountinfo").read_bytes().splitlines():
        before, _, after = line.partition(b" - ")
        if _ESCAPED.sub(lambda it: bytes([int(it[1], 8)]), before.split(b" ")[4]) == point:
            kind, source, options = after.split(b" ", 2)
            found = Mounted(kind, source, _ESCAPED.sub(lambda it: bytes([int(it[1], 8)]), options))
    return found


def _real(folder: Path) -> bytes:
    """Follow links; one that somebody changes meanwhile leads nowhere, and nothing is mounted there."""
    try:
        return os.fsencode(folder.resolve())
    except OSError:
        return os.fsencode(folder.absolute())


def ground_of(home: Path, path: str) -> Path:
    """Return the folder around a home, or the folder in it, from where an entry can be renamed into its place.

    rename(2) leaves no mount, not even to another one of the same file system, and no subvolume of Btrfs.
    """
    mounts = mounts_in(home)
    ground, folder = home.parent, home
    for name in ("", *path.split("/")[:-1]):
        folder /= name
        if not folder.is_dir():
            break
        if os.fsencode(folder) in mounts or folder.stat().st_dev != ground.stat().st_dev:
            ground = folder
    return ground
