"""The versions of one file across snapshots."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from hermes_backup.snapshots.differences import aspects
from hermes_backup.snapshots.names import SnapshotName
from hermes_backup.streams.members import Member

Sighting = tuple[SnapshotName, Member | None]
Change = Literal["first", "added", "changed", "removed"]


@dataclass(frozen=True)
class Version:
    """A file as it is in some snapshots that follow each other; ``member`` is None where it is in none of them."""

    change: Change
    member: Member | None
    snapshots: tuple[SnapshotName, ...]


def versions(sightings: Sequence[Sighting]) -> tuple[Version, ...]:
    """Group snapshots, oldest first, by what a file is in them; those before it was first seen are left out.

    The first version is ``first`` where the oldest snapshot has it: who knows how old it is. Dates do not count.
    """
    groups: list[tuple[Member | None, list[SnapshotName]]] = []
    for name, member in sightings:
        if groups and _same(groups[-1][0], member):
            groups[-1][1].append(name)
        else:
            groups.append((member, [name]))
    made: list[Version] = []
    for number, (member, names) in enumerate(groups):
        before = groups[number - 1][0] if number else None
        if member is not None or before is not None:
            made.append(Version(_change(number, before, member), member, tuple(names)))
    return tuple(made)


def _change(number: int, before: Member | None, member: Member | None) -> Change:
    if member is None:
        return "removed"
    if before is None:
        return "added" if number else "first"
    return "changed"


def _same(one: Member | None, other: Member | None) -> bool:
    if one is None or other is None:
        return one is other
    return one is other or not aspects(one, other)
