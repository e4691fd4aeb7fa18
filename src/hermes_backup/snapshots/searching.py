"""Files by a pattern, in many snapshots at once."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase

from hermes_backup.snapshots.names import SnapshotName
from hermes_backup.streams.members import Member

Listing = tuple[SnapshotName, Sequence[Member]]
_Version = tuple[object, ...]


@dataclass(frozen=True)
class Found:
    """A version of a file, as the oldest snapshot of those that hold it lists it."""

    member: Member
    snapshots: tuple[SnapshotName, ...]


def matches(pattern: str, name: str) -> bool:
    """Tell whether a path fits a pattern of the shell: ``*``, ``?``, ``[…]`` within a name, ``**`` for any folders.

    A pattern without a slash is for the last name, wherever it lies.
    """
    if "/" not in pattern.rstrip("/"):
        return fnmatchcase(name.rpartition("/")[2], pattern.rstrip("/"))
    return _fits(pattern.strip("/").split("/"), name.split("/"))


def within(members: Sequence[Member], path: str, *, deep: bool = False) -> tuple[Member, ...]:
    """Return what lies in a folder, or all that lies below it; of a path that is no folder, itself. ``.`` is all."""
    name = os.fsencode(path.rstrip("/"))
    if name in (b"", b"."):
        return tuple(it for it in members if deep or b"/" not in it.name)
    inside = name + b"/"
    below = (it for it in members if it.name.startswith(inside))
    found = tuple(it for it in below if deep or b"/" not in it.name[len(inside) :])
    return tuple(it for it in members if it.name == name and it.kind != "dir") + found


def search(listings: Sequence[Listing], pattern: str) -> tuple[Found, ...]:
    """Return every version of every file that fits, by name and then by age; ``listings`` come oldest first."""
    fits: dict[bytes, bool] = {}
    found: dict[_Version, tuple[Member, list[SnapshotName]]] = {}
    for snapshot, members in listings:
        for it in members:
            if it.name not in fits:
                fits[it.name] = matches(pattern, os.fsdecode(it.name))
            if fits[it.name]:
                version = (it.name, it.kind, it.size, it.mode, it.uid, it.gid, it.link, it.sha256)
                found.setdefault(version, (it, []))[1].append(snapshot)
    made = (Found(member, tuple(names)) for member, names in found.values())
    return tuple(sorted(made, key=lambda it: (it.member.name, it.snapshots[0])))


def ranges(some: Sequence[SnapshotName], every: Sequence[SnapshotName]) -> str:
    """Write the numbers of some of all snapshots, those that follow each other as a range: ``1-4, 7``."""
    wanted = set(some)
    runs: list[list[int]] = []
    inside = False
    for name in sorted(every):
        if name in wanted and inside:
            runs[-1].append(name.sequence)
        elif name in wanted:
            runs.append([name.sequence])
        inside = name in wanted
    return ", ".join(f"{run[0]}" if len(run) == 1 else f"{run[0]}-{run[-1]}" for run in runs)


def _fits(pattern: Sequence[str], name: Sequence[str]) -> bool:
    """Match part by part; ``reached`` are the places in the pattern that the name's parts so far can stand for."""
    reached = _skipped({0}, pattern)
    for part in name:
        stepped = {at if pattern[at] == "**" else at + 1 for at in reached if at < len(pattern)
                   and (pattern[at] == "**" or fnmatchcase(part, pattern[at]))}  # fmt: skip
        reached = _skipped(stepped, pattern)
    return len(pattern) in reached


def _skipped(places: set[int], pattern: Sequence[str]) -> set[int]:
    """Add the places behind a ``**``, which may stand for nothing."""
    made = set(places)
    for at, part in enumerate(pattern):
        if at in made and part == "**":
            made.add(at + 1)
    return made
