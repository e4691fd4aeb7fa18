"""Deleting what the retention rules let go."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from hermes_backup.snapshots.names import SnapshotName, folder_of, manifest_name

if TYPE_CHECKING:
    from collections.abc import Sequence

    from hermes_backup.snapshots.catalog import Known
    from hermes_backup.snapshots.place import Place
    from hermes_backup.snapshots.retention import Decision


@dataclass(frozen=True)
class Pruned:
    """What went, and how many bytes that freed; ``spared``: let go by the rules, but a delta that stays needs it."""

    deleted: tuple[SnapshotName, ...]
    freed: int
    spared: tuple[SnapshotName, ...]


def prune(place: Place, host: str, pipeline: str, decisions: Sequence[Decision], knowns: Sequence[Known]) -> Pruned:
    """Delete what is decided against, the oldest first, and only snapshots with a valid manifest (``knowns``).

    Each loses its manifest first: from then on it is an unfinished one, which nobody restores from. When no
    snapshot would be left, nothing is deleted.

    Raises:
        Fault: REMOTE_UNREACHABLE, STAGE_FAILED; what went before is gone.
    """
    folder = folder_of(host, pipeline)
    going = {decision.name for decision in decisions if not decision.keep}
    staying = [known for known in knowns if known.name not in going]
    needed = {known.manifest.base for known in staying}
    spared = tuple(known.name for known in knowns if known.name in going and str(known.name) in needed)
    if not staying:
        return Pruned((), 0, ())
    deleted: list[SnapshotName] = []
    freed = 0
    for known in sorted(knowns, key=lambda one: one.name):
        if known.name not in going or known.name in spared:
            continue
        for name in _files(known):
            place.delete(f"{folder}/{name}")
        deleted.append(known.name)
        freed += known.listed.size
    return Pruned(tuple(deleted), freed, spared)


def _files(known: Known) -> tuple[str, ...]:
    index = known.manifest.index
    return (manifest_name(known.name), known.manifest.data.name, *((index.name,) if index else ()))
