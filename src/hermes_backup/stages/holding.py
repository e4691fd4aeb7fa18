"""Whether the last snapshot still lies where it was put."""

from __future__ import annotations

from collections.abc import Sequence

from hermes_backup.errors import REMOTE_REFUSED, Fault
from hermes_backup.snapshots.names import folder_of, manifest_name
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
    """Return the last snapshot if a home can be the same as it and all these places still hold it."""
    last = comparable(context)
    return last if last is not None and all(holds(it, last, context) for it in places) else None


def holds(place: Place, last: Entry, context: Context) -> bool:
    """Look whether a place was given the last snapshot and still has it; one that takes and does not tell is believed.

    What is looked at are names and sizes.
    """
    if place.label not in last.places:
        return False
    try:
        stored = {it.name: it.size for it in place.list(folder_of(context.host, context.pipeline))}
    except Fault as fault:
        return fault.kind is REMOTE_REFUSED
    whole = all(stored.get(part.name) == part.size for part in last.manifest.parts)
    return whole and manifest_name(last.manifest.name) in stored
