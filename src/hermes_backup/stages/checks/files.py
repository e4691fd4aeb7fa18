"""Is every file on disk what the index says? What tar wrote is read again, byte for byte."""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

from hermes_backup.home.printable import printable
from hermes_backup.stages.things import Finding, Tree, Verdict
from hermes_backup.streams.admission import SPECIAL_BITS
from hermes_backup.streams.hashing import sha256_of
from hermes_backup.streams.members import Member

_WHAT = "files"
_KINDS = {"file": stat.S_IFREG, "hardlink": stat.S_IFREG, "dir": stat.S_IFDIR, "link": stat.S_IFLNK}
_UNREADABLE = "its mode lets nobody read it, so that its content is not compared"


def files(tree: Tree, told: Callable[[int, int], None]) -> Iterator[Finding]:
    """Compare kind, size, mode, target and content of everything that the index lists; ``told`` hears of bytes."""
    members = {it.name: it for it in tree.members}
    total = sum(it.size for it in members.values())
    done = 0
    wrong: dict[str, list[str]] = {}
    for member in members.values():
        problem = _problem(tree.root, member, members)
        if problem:
            wrong.setdefault(problem, []).append(printable(member.name))
        done += member.size
        told(done, total)
    if not wrong:
        yield Finding(_WHAT, "ok", f"{len(members)} of the index, each with its kind, size, mode and SHA-256")
    for problem, names in wrong.items():
        verdict: Verdict = "unproven" if problem == _UNREADABLE else "failed"
        yield Finding(_WHAT, verdict, f"{len(names)} of {len(members)}: {problem}", tuple(names))


def _problem(root: Path, member: Member, members: Mapping[bytes, Member]) -> str:
    """Say what is wrong with one member on disk; nothing when it is as listed."""
    path = os.path.join(os.fsencode(root), member.name)  # noqa: PTH118 - bytes
    try:
        info = os.lstat(path)
        if stat.S_IFMT(info.st_mode) != _KINDS.get(member.kind):
            return "it is of another kind"
        if member.kind == "link":
            return "" if os.readlink(path) == member.link else "it points elsewhere"  # noqa: PTH115 - bytes
        if stat.S_IMODE(info.st_mode) != stat.S_IMODE(member.mode) & ~SPECIAL_BITS:
            return "its mode is another"
        return _data(root, path, info, member, members)
    except OSError as error:
        said = {errno.ENOENT: "it is missing", errno.EACCES: _UNREADABLE}
        return said.get(error.errno or 0, f"it cannot be looked at: {error.strerror}")


def _data(root: Path, path: bytes, info: os.stat_result, member: Member, members: Mapping[bytes, Member]) -> str:
    if member.kind == "file":
        return _content(path, info, member)
    if member.kind == "hardlink" and not _same(root, info, members.get(member.link or b"")):
        return "it is no name of the same file"
    return ""


def _same(root: Path, info: os.stat_result, target: Member | None) -> bool:
    if target is None:  # it was not wanted itself, and is gone again
        return True
    return os.path.samestat(info, os.lstat(os.path.join(os.fsencode(root), target.name)))  # noqa: PTH118 - bytes


def _content(path: bytes, info: os.stat_result, member: Member) -> str:
    if info.st_size != member.size:
        return "its size is another"
    return "" if sha256_of(path) == member.sha256 else "its content is another"
