"""What is mounted at a folder or below it, by the kernel's own list: a bind mount shows the same device."""

from __future__ import annotations

import os
import re
from pathlib import Path

_ESCAPED = re.compile(rb"\\([0-7]{3})")


def mounts_in(folder: Path) -> tuple[bytes, ...]:
    """Return the mount points at a folder and below it (proc(5), mountinfo: the fifth field, its spaces as octal)."""
    root = bytes(folder.resolve())
    lines = Path("/proc/self/mountinfo").read_bytes().splitlines()
    points = (_ESCAPED.sub(lambda it: bytes([int(it[1], 8)]), line.split(b" ")[4]) for line in lines)
    return tuple(it for it in points if it == root or it.startswith(root + b"/"))


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
