"""Does a place still hold a snapshot? As far as its credentials can tell."""

from __future__ import annotations

from collections.abc import Collection

from hermes_backup.errors import REMOTE_REFUSED, Fault
from hermes_backup.snapshots.manifest import Manifest
from hermes_backup.snapshots.names import folder_of, manifest_name
from hermes_backup.snapshots.place import Place
from hermes_backup.stages.context import Context


def holds(place: Place, manifest: Manifest, remembered: Collection[str], context: Context) -> bool:
    """Look whether a place lists all files of a snapshot with their sizes.

    One that takes and does not tell is believed, if it is among the labels that are ``remembered`` to hold it.
    """
    try:
        stored = {it.name: it.size for it in place.list(folder_of(context.host, context.pipeline))}
    except Fault as fault:
        return fault.kind is REMOTE_REFUSED and place.label in remembered
    return manifest_name(manifest.name) in stored and all(stored.get(it.name) == it.size for it in manifest.parts)
