"""Some of a snapshot's files: those that are wanted, and what they need to be extracted."""

from __future__ import annotations

import os
from collections.abc import Collection, Sequence
from dataclasses import dataclass

from hermes_backup.errors import PATH_MISSING, Fault
from hermes_backup.home.printable import printable
from hermes_backup.snapshots.manifest import Manifest
from hermes_backup.streams.members import Member

_NEAR = 3


@dataclass(frozen=True)
class Selected:
    """Members that are wanted; ``targets`` are files that only have other names of theirs wanted (hard links)."""

    members: tuple[Member, ...]
    targets: tuple[bytes, ...] = ()

    @property
    def extracted(self) -> tuple[Member, ...]:
        """Everything that must come out of the archive, targets by their names alone."""
        first = (Member(it, "file", 0, 0, 0, 0, 0.0) for it in self.targets)
        return (*first, *self.members)


def select(members: Sequence[Member], paths: Sequence[str]) -> Selected:
    """Return the members at these paths and below them.

    Raises:
        Fault: PATH_MISSING, with names like it.
    """
    found: dict[bytes, Member] = {}
    for path in paths:
        name = os.fsencode(path.rstrip("/"))
        here = [it for it in members if it.name == name or it.name.startswith(name + b"/")]
        if not here:
            raise Fault(PATH_MISSING, f"the snapshot holds no {printable(name)}", mend=_like(members, name))
        found |= {it.name: it for it in here}
    wanted = tuple(it for it in members if it.name in found)
    links = {it.link for it in wanted if it.kind == "hardlink" and it.link is not None}
    return Selected(wanted, tuple(sorted(links - found.keys())))


def outermost(paths: Sequence[str]) -> tuple[str, ...]:
    """Return the paths, sorted, without those that lie below another of them."""
    plain = {it.strip("/") for it in paths}
    return tuple(sorted(it for it in plain if not is_within(it, plain - {it})))


def is_within(name: str, paths: Collection[str]) -> bool:
    """Say whether a name is one of the paths, or lies below one."""
    return any(name == it or name.startswith(f"{it}/") for it in paths)


def narrowed(manifest: Manifest, members: Sequence[Member]) -> Manifest:
    """Return what the manifest says of these members: other databases and partial files are left out."""
    names = {printable(it.name) for it in members}
    update = {
        "databases": tuple(it for it in manifest.databases if it.path in names),
        "partial": tuple(it for it in manifest.partial if it.path in names),
    }
    return manifest.model_copy(update=update)


def _like(members: Sequence[Member], name: bytes) -> str:
    last = name.rpartition(b"/")[2].lower()
    near = [printable(it.name) for it in members if last and last in it.name.lower()][:_NEAR]
    return f"Like it: {', '.join(near)}." if near else ""
