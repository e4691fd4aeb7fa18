"""Deleting what the retention rules let go, and what killed runs left."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from hermes_backup.snapshots.names import SnapshotName, folder_of, manifest_name

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from hermes_backup.snapshots.catalog import Known
    from hermes_backup.snapshots.leftovers import Leftover
    from hermes_backup.snapshots.place import Place
    from hermes_backup.snapshots.retention import Decision


@dataclass(frozen=True)
class Pruned:
    """What went, and how many bytes that freed."""

    deleted: tuple[SnapshotName, ...]
    freed: int


def prune(place: Place, host: str, pipeline: str, decisions: Sequence[Decision], knowns: Sequence[Known]) -> Pruned:
    """Delete what is decided against, and only snapshots with a valid manifest (``knowns``).

    The oldest go first, and deltas before what they were made against, for prune may be killed at any moment. Each
    loses its manifest first: from then on it is an unfinished one, which nobody restores from. When no
    snapshot would be left, nothing is deleted.

    Raises:
        Fault: REMOTE_UNREACHABLE, STAGE_FAILED; what went before is gone.
    """
    folder = folder_of(host, pipeline)
    going = {decision.name for decision in decisions if not decision.keep}
    if all(known.name in going for known in knowns):
        return Pruned((), 0)
    deleted: list[SnapshotName] = []
    freed = 0
    for known in sorted(knowns, key=lambda one: (one.manifest.kind != "delta", one.name)):
        if known.name not in going:
            continue
        for name in _files(known):
            place.delete(f"{folder}/{name}")
        deleted.append(known.name)
        freed += known.listed.size
    return Pruned(tuple(deleted), freed)


def remove_leftovers(
    place: Place, folder: str, left: Sequence[Leftover], tell: Callable[[str], None], *, dry_run: bool
) -> tuple[str, ...]:
    """Remove the files of killed runs, half written ones too; ``tell`` hears of each before. Return their names.

    Raises:
        Fault: REMOTE_UNREACHABLE, STAGE_FAILED; what went before is gone.
    """
    half = place.sweep(folder, dry_run=True)
    whole = tuple(file.name for it in left for file in it.listed.files)
    for name in (*half, *whole):
        tell(f"{place.label}: {name} {'would go' if dry_run else 'goes'}, for it is left of a run that was killed")
    if dry_run:
        return (*half, *whole)
    for name in whole:
        place.delete(f"{folder}/{name}")
    return (*(place.sweep(folder) if half else ()), *whole)


def _files(known: Known) -> tuple[str, ...]:
    index = known.manifest.index
    return (manifest_name(known.name), known.manifest.data.name, *((index.name,) if index else ()))
