"""Whether the times of a home's files tell of every write to them."""

from __future__ import annotations

import ctypes
import os
from contextlib import suppress
from pathlib import Path

from hermes_backup.home.processes import processes
from hermes_backup.home.selection import Entry, Selection
from hermes_backup.streams.directory import Directory

SETTLED_NS = 2_000_000_000
"""Two writes closer than this can carry one time: ext3 keeps whole seconds, and a busy machine stamps late."""
_KEEPING = frozenset({0xEF53, 0x58465342, 0x9123683E, 0x2FC12FC1, 0xF2F52010, 0xCA451A4E, 0x794C7630})
"""ext2 to ext4, XFS, Btrfs, ZFS, F2FS, bcachefs, overlayfs (statfs(2), linux/magic.h).

Their times are of this kernel's clock, and inodes stay. Network and FUSE file systems have times of elsewhere, or old
ones from a cache. On tmpfs what is written through mapped memory leaves no time at all.
"""
_STATFS_BYTES = 512  # struct statfs has 120 on 64 bit machines, and begins with the type


def settled(newest_ns: int, now_ns: int) -> bool:
    """Say whether a write from ``now_ns`` on must give a newer time than the newest; one of the future never is."""
    return newest_ns < now_ns - SETTLED_NS


def untold(root: Directory, selection: Selection) -> str:
    """Say why something could be written to the chosen files without a new time; empty where nothing could."""
    files = [it for it in selection.entries if it.kind != "dir"]
    # a file can be a mount of its own; a link cannot, and leads elsewhere
    on = {it.device: it.name if it.kind == "file" else os.path.dirname(it.name) for it in files}  # noqa: PTH120 - bytes
    for name in on.values():
        kind = _file_system(root, name)
        if kind not in _KEEPING:
            return f"its file system, of type {kind:#x}, does not tell of every write"
    return "a process has a file of it mapped to write" if _mapped(files) else ""


def _file_system(root: Directory, name: bytes) -> int:
    """Return the type of the file system that something is on; 0 where it cannot be known."""
    libc = ctypes.CDLL(None, use_errno=True)
    found = ctypes.create_string_buffer(_STATFS_BYTES)
    try:
        descriptor = root.open(name, os.O_PATH)
    except OSError:
        return 0
    try:
        if libc.fstatfs(descriptor, found) != 0:
            return 0
    finally:
        os.close(descriptor)
    return int(ctypes.c_long.from_buffer(found).value) & 0xFFFFFFFF


def _mapped(files: list[Entry]) -> bool:
    """Look whether any process shares one of the files as memory that it may write (proc(5), maps).

    What is written there gets a time when the kernel next takes note of the page, which may be half a minute off. The
    inode alone counts, for overlayfs and Btrfs show another device there.
    """
    inodes = {str(it.inode).encode() for it in files}
    for pid in processes():
        with suppress(OSError):
            for line in Path(f"/proc/{pid}/maps").read_bytes().splitlines():
                fields = line.split(None, 5)
                if fields[1][1:2] == b"w" and fields[1][3:4] == b"s" and fields[4] in inodes:
                    return True
    return False
