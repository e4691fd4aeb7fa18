"""A look at what tar made: the disk is believed, not the reading of the stream.

tar reads more into a stream than we do. Whatever it made of a stream that was not admitted shows here.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from hermes_backup.errors import RESTORE_CHECK, Fault
from hermes_backup.home.printable import printable
from hermes_backup.streams.admission import SPECIAL_BITS
from hermes_backup.streams.members import Member

_KINDS = {stat.S_IFREG: "file", stat.S_IFDIR: "dir", stat.S_IFLNK: "link"}
_SHOWN = 5
_ENTER = 0o500


def examine(root: Path, members: Sequence[Member]) -> tuple[bytes, ...]:
    """Compare a tree with the members that it should hold, and return what lost its setuid or setgid bit.

    Of files the size is compared, too: tar reads more into the map of a sparse file than we do. Folders that are no
    members of their own may lie above members.

    Raises:
        Fault: RESTORE_CHECK.
    """
    wanted = {it.name: "file" if it.kind == "hardlink" else it.kind for it in members}
    sizes = {it.name: it.size for it in members if it.kind == "file"}
    above = _above(wanted)
    seen: set[bytes] = set()
    wrong: list[bytes] = []
    special: list[bytes] = []
    for name, info in _walk(os.fsencode(root)):
        kind = _KINDS.get(stat.S_IFMT(info.st_mode), "other")
        seen.add(name)
        if kind != wanted.get(name, "dir" if name in above else None) or info.st_size != sizes.get(name, info.st_size):
            wrong.append(name)
        elif kind != "link" and info.st_mode & SPECIAL_BITS:
            os.chmod(_path(root, name), stat.S_IMODE(info.st_mode) & ~SPECIAL_BITS)  # noqa: PTH101 - bytes
            special.append(name)
    wrong += sorted(wanted.keys() - seen)
    if wrong:
        raise Fault(RESTORE_CHECK, f"what came out is not what the archive lists: {shown(wrong)}", where="extract")
    return tuple(special)


def shown(names: Sequence[bytes]) -> str:
    """Write the first of some names, and how many more there are."""
    more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
    return ", ".join(printable(it) for it in names[:_SHOWN]) + more


def _above(names: Iterable[bytes]) -> set[bytes]:
    found: set[bytes] = set()
    for name in names:
        parent = name.rpartition(b"/")[0]
        while parent and parent not in found:
            found.add(parent)
            parent = parent.rpartition(b"/")[0]
    return found


def _walk(root: bytes) -> Iterator[tuple[bytes, os.stat_result]]:
    """Give everything below a folder, whatever the modes on the way; they are put back at the end."""
    left = [b""]
    closed: list[tuple[bytes, int]] = []
    try:
        while left:
            prefix = left.pop()
            with os.scandir(root + b"/" + prefix) as entries:
                for entry in entries:
                    info = entry.stat(follow_symlinks=False)
                    yield prefix + entry.name, info
                    if not stat.S_ISDIR(info.st_mode):
                        continue
                    left.append(prefix + entry.name + b"/")
                    mode = stat.S_IMODE(info.st_mode) & ~SPECIAL_BITS
                    if mode & _ENTER != _ENTER:
                        os.chmod(entry.path, mode | _ENTER)  # noqa: PTH101 - bytes
                        closed.append((entry.path, mode))
    finally:
        for path, mode in reversed(closed):
            os.chmod(path, mode)  # noqa: PTH101 - bytes


def _path(root: Path, name: bytes) -> bytes:
    return os.path.join(os.fsencode(root), name)  # noqa: PTH118 - bytes
