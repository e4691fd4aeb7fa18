"""Whether a snapshot still lies where it was put."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from contextlib import suppress

from hermes_backup.errors import REMOTE_REFUSED, Fault
from hermes_backup.snapshots.manifest import Manifest
from hermes_backup.snapshots.names import SnapshotName, folder_of, manifest_name
from hermes_backup.snapshots.place import Place
from hermes_backup.stages.context import Context
from hermes_backup.stages.ledger import Entry


def comparable(context: Context) -> Entry | None:
    """Return the last snapshot if a home can be the same as it: it is whole, and made under the same settings."""
    last = context.ledger.last()
    if last is None or last.settings != context.settings or last.manifest.partial:
        return None
    return last


def held_last(places: Sequence[Place], context: Context) -> Entry | None:
    """Return the last snapshot if a home can be the same as it and all these places were given it and still hold it."""
    last = comparable(context)
    if last is None:
        return None
    with suppress(Fault):
        return last if all(holds_last(it, last, context) for it in places) else None
    return None


def holds_last(place: Place, last: Entry, context: Context) -> bool:
    """Look whether a place was given the last snapshot and still has it.

    Raises:
        Fault: it cannot be asked.
    """
    return place.label in last.places and holds(place, last.manifest, last.places, context)


def stored_in(place: Place, context: Context) -> Mapping[str, int]:
    """Return the files of this pipeline in a place, with their sizes.

    Raises:
        Fault: REMOTE_REFUSED when it takes and does not tell; REMOTE_UNREACHABLE.
    """
    return {it.name: it.size for it in place.list(folder_of(context.host, context.pipeline))}


def holds(place: Place, manifest: Manifest, remembered: Collection[str], context: Context) -> bool:
    """Look whether a place lists all files of a snapshot with their sizes, and what it was made against as a delta.

    One that takes and does not tell is believed, if it is among the labels that are ``remembered`` to hold it.

    Raises:
        Fault: it cannot be asked, so that nobody knows.
    """
    try:
        stored = stored_in(place, context)
    except Fault as fault:
        if fault.kind is REMOTE_REFUSED:
            return place.label in remembered
        raise
    based = manifest.base is None or manifest_name(SnapshotName.parse(manifest.base)) in stored
    whole = all(stored.get(it.name) == it.size for it in manifest.parts)
    return based and whole and manifest_name(manifest.name) in stored
