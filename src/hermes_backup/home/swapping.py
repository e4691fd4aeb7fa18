"""Entries of a file system that change places in one step, so that there is always one or the other.

``renameat2(2)`` with RENAME_EXCHANGE does it on ext4, XFS, Btrfs, tmpfs and overlayfs; NFS and some FUSE have none.
Which entry is which is told by marks that outlive renaming and a restart.
"""

from __future__ import annotations

import ctypes
import errno
import os
import struct
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from hermes_backup.errors import RESTORE_REFUSED, Fault
from hermes_backup.home.owners import Owner
from hermes_backup.home.printable import printable
from hermes_backup.streams.directory import hold

_AT_FDCWD = -100
_NOREPLACE, _EXCHANGE = 1, 2  # linux/fs.h
_CANNOT = frozenset({errno.EINVAL, errno.ENOSYS, errno.ENOTSUP})
_SECOND = 10**9
_NOFOLLOW, _BASIC, _BIRTH = 0x100, 0x7FF, 0x800  # linux/fcntl.h, linux/stat.h
_STATX = struct.Struct("=I28xQQ32xqI4x16xqI132x")  # mask, inode, size, birth, change of contents; statx(2)


@dataclass(frozen=True)
class Mark:
    """An entry told from others: equal marks, the same entry, unchanged. Times are in nanoseconds.

    No device is in it, because an overlay, Btrfs or NFS has another number after a restart. An inode's number alone is
    given anew at once when its file is removed; its birth is not. File systems that know of none have 0.
    """

    inode: int
    birth: int
    size: int
    modified: int

    def is_same(self, other: Mark) -> bool:
        """Say whether it is the same entry, whatever was written into it since."""
        return (self.inode, self.birth) == (other.inode, other.birth)


@contextmanager
def anchored(folder: Path) -> Iterator[Path]:
    """Give a path that leads to this very folder, whoever renames what lies above it meanwhile.

    Raises:
        Fault: HOME_LINK, a link on the way is neither root's nor this process's user's.
        OSError: it is no folder.
    """
    with hold(folder) as held:
        yield held.path


def below(home: Path, path: str, owner: Owner | None, held: ExitStack, *, make: bool = True) -> Path:
    """Open a folder of the home, step by step and through no link, making what is not there.

    Raises:
        Fault: RESTORE_REFUSED.
        FileNotFoundError: it is not there, and was not to be made.
    """
    folder = home
    for name in filter(None, path.split("/")):
        made = make and not os.path.lexists(folder / name)
        if made:
            (folder / name).mkdir(mode=0o700)
        try:
            folder = held.enter_context(anchored(folder / name))
            if made and owner is not None and os.geteuid() == 0 and folder.stat().st_uid == 0:
                os.chown(folder, owner.uid, owner.gid)  # by its descriptor
        except FileNotFoundError:
            raise
        except OSError as error:
            what = f"{printable(path)} in the home is no plain folder: {error.strerror}"
            raise Fault(RESTORE_REFUSED, what, where="restore") from None
    return folder


def carry(name: str, old: Path, new: Path) -> bool:
    """Move an entry of one home into the other, through no link; return False where it is there no more.

    Raises:
        Fault: RESTORE_REFUSED.
        OSError: there is something already.
    """
    above, _, last = name.rpartition("/")
    with ExitStack() as held:
        try:
            entry = below(held.enter_context(anchored(old)), above, None, held, make=False) / last
            entry.lstat()
        except FileNotFoundError:  # caches and logs come and go
            return False
        move(entry, below(held.enter_context(anchored(new)), above, None, held) / last)
    return True


def mark(path: Path) -> Mark:
    """Tell what lies at a path, a link itself too.

    Raises:
        OSError: nothing that can be seen.
    """
    libc = ctypes.CDLL(None, use_errno=True)  # os.stat tells no birth before Python 3.15
    found = ctypes.create_string_buffer(_STATX.size)
    if libc.statx(_AT_FDCWD, os.fsencode(path), _NOFOLLOW, _BASIC | _BIRTH, found) != 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number), str(path))
    mask, inode, size, born, born_part, modified, modified_part = _STATX.unpack(found.raw)
    birth = born * _SECOND + born_part if mask & _BIRTH else 0
    return Mark(inode, birth, size, modified * _SECOND + modified_part)


def move(old: Path, new: Path) -> None:
    """Rename, replacing nothing.

    Raises:
        OSError: there is something at ``new``, or it is on another file system.
    """
    try:
        _rename(old, new, _NOREPLACE)
    except OSError as error:
        if error.errno not in _CANNOT:
            raise
        if os.path.lexists(new):
            raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), str(new)) from None
        os.rename(old, new)  # noqa: PTH104 - the system call, for bytes and text alike


def exchange(one: Path, other: Path) -> bool:
    """Let two entries change places; return False, having done nothing, where the file system cannot do that.

    Raises:
        OSError: one of them is not there, or they are on different file systems.
    """
    try:
        _rename(one, other, _EXCHANGE)
    except OSError as error:
        if error.errno in _CANNOT:
            return False
        raise
    return True


def _rename(old: Path, new: Path, flags: int) -> None:
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.renameat2(_AT_FDCWD, os.fsencode(old), _AT_FDCWD, os.fsencode(new), flags) != 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number), str(old), None, str(new))
