"""Deleting what the retention rules let go, and what killed runs left."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from hermes_backup.snapshots.names import SnapshotName, manifest_name

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from hermes_backup.snapshots.catalog import Known
    from hermes_backup.snapshots.place import Place
    from hermes_backup.snapshots.prune_journal import PruneJournal
    from hermes_backup.snapshots.retention import Decision


@dataclass(frozen=True)
class Pruned:
    """What went, and how many bytes that freed."""

    deleted: tuple[SnapshotName, ...]
    freed: int


def prune(
    place: Place, folder: str, decisions: Sequence[Decision], knowns: Sequence[Known], journal: PruneJournal
) -> Pruned:
    """Delete what is decided against, and only snapshots with a valid manifest (``knowns``).

    The oldest go first, and deltas before what they were made against, for prune may be killed at any moment. Each
    loses its manifest first: from then on it is an unfinished one, which nobody restores from, and which the journal
    tells the next prune to end. When no snapshot would be left, nothing is deleted.

    Raises:
        Fault: REMOTE_UNREACHABLE, STAGE_FAILED; what went before is gone.
    """
    names = {decision.name for decision in decisions if not decision.keep}
    if all(known.name in names for known in knowns):
        return Pruned((), 0)
    ordered = sorted(knowns, key=lambda one: (one.manifest.kind != "delta", one.name))
    going = [known for known in ordered if known.name in names]
    if going:
        journal.begin(place.label, [name for known in going for name in _parts(known)])
    for known in going:
        for name in (manifest_name(known.name), *_parts(known)):
            place.delete(f"{folder}/{name}")
    journal.end(place.label)
    return Pruned(tuple(known.name for known in going), sum(known.listed.size for known in going))


def remove_leftovers(
    place: Place, folder: str, whole: Sequence[str], tell: Callable[[str], None], *, dry_run: bool
) -> tuple[str, ...]:
    """Remove ``whole`` files and half written ones of killed runs; ``tell`` hears of each before. Return their names.

    Raises:
        Fault: REMOTE_UNREACHABLE, STAGE_FAILED; what went before is gone.
    """
    half = place.sweep(folder, dry_run=True)
    for name in (*half, *whole):
        tell(f"{place.label}: {name} {'would go' if dry_run else 'goes'}, for it is left of a run that was killed")
    if dry_run:
        return (*half, *whole)
    for name in whole:
        place.delete(f"{folder}/{name}")
    return (*(place.sweep(folder) if half else ()), *whole)


def _parts(known: Known) -> tuple[str, ...]:
    index = known.manifest.index
    return (known.manifest.data.name, *((index.name,) if index else ()))
