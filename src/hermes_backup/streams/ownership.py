"""Whether another user of this machine can put something into a folder, or another folder in its place.

As sshd does with StrictModes (sshd_config(5)): every folder on the way, and every link, belongs to root or to us, and
nobody else may write to it. A folder above with the sticky bit will do, for others cannot rename what is ours there.
"""

from __future__ import annotations

import grp
import os
import pwd
import shlex
import stat
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from hermes_backup.errors import FOLDER_EXPOSED, Fault

_MOST_LINKS = 40  # as many as the kernel follows (path_resolution(7))
_ACL = "system.posix_acl_access"


@dataclass(frozen=True)
class Exposed:
    """A folder or link that somebody else can change; ``why`` is a clause, ``mend`` a command."""

    path: Path
    why: str
    mend: str


def require_own(folder: Path, where: str) -> None:
    """Make sure that only root and we can change what lies in a folder, which need not be there yet.

    Raises:
        Fault: FOLDER_EXPOSED, with the command that mends it.
    """
    found = exposed(folder)
    if found is not None:
        what = f"{found.path} {found.why}, so others can change what lies in {folder}"
        raise Fault(FOLDER_EXPOSED, what, where=where, mend=found.mend)


def exposed(folder: Path) -> Exposed | None:
    """Return the first part of a path, from the root on, that somebody else can change."""
    way = list(_way(folder))
    end = way[-1][0] if folder.exists() else None
    for path, status in way:
        if status.st_uid not in (0, os.geteuid()):
            owner = f"belongs to {_user(status.st_uid)}"
            return Exposed(path, owner, f"chown -h {_user(os.geteuid())} {shlex.quote(str(path))}")
        if stat.S_ISLNK(status.st_mode) or (status.st_mode & stat.S_ISVTX and path != end):
            continue
        who = _writers(path, status)
        if who:
            return Exposed(path, f"can be written to by {who}", f"chmod go-w {shlex.quote(str(path))}")
    return None


def _way(folder: Path) -> Iterator[tuple[Path, os.stat_result]]:
    """Yield each folder and link that leads to a folder, from the root on, as far as there are any."""
    left = list(reversed(folder.absolute().parts[1:]))
    at = Path("/")
    yield at, at.lstat()
    links = 0
    while left:
        name = left.pop()
        if name == "..":
            at = at.parent
            continue
        path = at / name
        try:
            status = path.lstat()
        except (FileNotFoundError, NotADirectoryError):
            return
        yield path, status
        if not stat.S_ISLNK(status.st_mode):
            at = path
        elif (links := links + 1) > _MOST_LINKS:
            return
        else:
            target = path.readlink()
            at = Path("/") if target.is_absolute() else at
            left += reversed([it for it in target.parts if it != "/"])


def _writers(path: Path, status: os.stat_result) -> str:
    """Name who else may write; empty for nobody. A group that nobody else is in counts as nobody."""
    if status.st_mode & stat.S_IWOTH:
        return "everybody"
    if status.st_mode & stat.S_IWGRP:
        with suppress(OSError):
            os.getxattr(path, _ACL)
            return "whom its access control list names"  # the group's bits are its mask (acl(5))
        if others := _others_in(status.st_gid):
            return f"group {_group(status.st_gid)}, and so by {others[0]}"
    return ""


def _others_in(gid: int) -> list[str]:
    ours = {_user(0), _user(os.geteuid())}
    members = {it.pw_name for it in pwd.getpwall() if it.pw_gid == gid}
    with suppress(KeyError):
        members |= set(grp.getgrgid(gid).gr_mem)
    return sorted(members - ours)


def _user(uid: int) -> str:
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return str(uid)


def _group(gid: int) -> str:
    try:
        return grp.getgrgid(gid).gr_name
    except KeyError:
        return str(gid)
