"""To whom a home belongs, and a tree given to somebody else."""

from __future__ import annotations

import os
import pwd
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Owner:
    """A user and a group, by number."""

    uid: int
    gid: int


def owner_of(path: Path) -> Owner | None:
    """Return who owns what lies at a path, None where nothing does."""
    try:
        status = path.lstat()
    except OSError:
        return None
    return Owner(status.st_uid, status.st_gid)


def account(name: str) -> Owner | None:
    """Return a user of this machine, None for an unknown one."""
    try:
        found = pwd.getpwnam(name)
    except KeyError:
        return None
    return Owner(found.pw_uid, found.pw_gid)


def give(tree: Path, new: Owner) -> int:
    """Give a tree to a user: what belonged to its root's owner, and to its group; return how many entries changed.

    What belonged to others stays theirs.
    """
    old = owner_of(tree)
    if old is None or old == new:
        return 0
    changed = 0
    for _, folders, files, descriptor in os.fwalk(tree):
        for name in (*folders, *files):
            changed += _give(name, old, new, descriptor)
    return changed + _give(str(tree), old, new, None)


def _give(name: str, old: Owner, new: Owner, descriptor: int | None) -> bool:
    status = os.stat(name, dir_fd=descriptor, follow_symlinks=False)
    uid = new.uid if status.st_uid == old.uid else -1
    gid = new.gid if status.st_gid == old.gid else -1
    if (uid, gid) == (-1, -1):
        return False
    os.chown(name, uid, gid, dir_fd=descriptor, follow_symlinks=False)
    return True
