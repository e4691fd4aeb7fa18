"""Stage ``fetch``: a finished snapshot from a remote, its manifest proven by the pinned key of its host."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, ClassVar

from pydantic import ConfigDict, Field, field_validator

from hermes_backup.errors import BASE_MISSING, DATA_DAMAGED, HOST_KEY_MISSING, SNAPSHOT_MISSING, Fault
from hermes_backup.snapshots.addresses import place_at
from hermes_backup.snapshots.catalog import find, load_manifests, read_catalog
from hermes_backup.snapshots.gate import place
from hermes_backup.snapshots.place import Place
from hermes_backup.stages.context import Context
from hermes_backup.stages.stage import Stage
from hermes_backup.stages.things import Snapshot


class Fetch(Stage):
    """Find a snapshot in a remote, and believe its manifest only if the host's pinned key signed it."""

    model_config = ConfigDict(populate_by_name=True)

    name: ClassVar[str] = "fetch"
    takes: ClassVar[tuple[type, ...]] = ()
    gives: ClassVar[type] = Snapshot

    source: str = Field(alias="from")
    """The remote, as rclone writes it."""
    snapshot: str = "latest"
    """``latest``, a sequence number, a snapshot's name, or a time."""
    pipeline: str = ""
    """The pipeline whose snapshots are fetched; none given: the first of the host that makes snapshots there."""

    @field_validator("source")
    @classmethod
    def _allowed(cls, value: str) -> str:
        try:
            return place(value)
        except Fault as fault:
            raise ValueError(fault.what) from None

    def run(self, value: Any, context: Context) -> Snapshot:
        """Read the manifest."""
        del value
        whose = replace(context, pipeline=self.pipeline or context.pipeline)
        return fetched(place_at(self.source, context.rclone_config), self.snapshot, whose)


def fetched(place: Place, wanted: str, context: Context) -> Snapshot:
    """Find a snapshot in a place and prove its manifest; its data stays where it is.

    Raises:
        Fault: HOST_KEY_MISSING, SNAPSHOT_MISSING, SIGNATURE_BAD, MANIFEST_BAD, DATA_DAMAGED, REMOTE_UNREACHABLE.
    """
    if context.pinned is None:
        raise Fault(HOST_KEY_MISSING, f"no key is pinned for host {context.host}", where=Fetch.name)
    listed = find(read_catalog(place, context.host, context.pipeline).listed, wanted)
    known = load_manifests(place, context.host, context.pipeline, [listed], context.pinned)[0]
    if isinstance(known, Fault):
        raise known
    context.listener.note(Fetch.name, f"{listed.name} from {place.label}, signed by {context.pinned.fingerprint}")
    return Snapshot(listed.name, known.manifest, (place,))


def base_of(delta: Snapshot, context: Context) -> Snapshot:
    """Find the full snapshot that a delta was made against, in the place that the delta is taken from.

    Raises:
        Fault: BASE_MISSING; DATA_DAMAGED when it is a delta itself; and as :func:`fetched`.
    """
    place, wanted = delta.places[0], str(delta.manifest.base)
    whose = replace(context, host=delta.manifest.host, pipeline=delta.manifest.pipeline)
    try:
        base = fetched(place, wanted, whose)
    except Fault as fault:
        if fault.kind is not SNAPSHOT_MISSING:
            raise
        what = f"{delta.name} holds what changed since {wanted}, which is not there"
        raise Fault(BASE_MISSING, what, where=place.label) from None
    if base.manifest.base is not None:
        raise Fault(DATA_DAMAGED, f"{wanted} is a delta, and cannot be the base of {delta.name}", where=place.label)
    return base
