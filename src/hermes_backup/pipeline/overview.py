"""What the places of a pipeline show: names are believed, and it is tried whether their manifests are given."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from hermes_backup.errors import Fault
from hermes_backup.pipeline.places import catalogs, places_of
from hermes_backup.pipeline.rollback import Records, rolled_back
from hermes_backup.snapshots.catalog import Listed
from hermes_backup.snapshots.manifest import LONGEST_MANIFEST
from hermes_backup.snapshots.names import SnapshotName, folder_of
from hermes_backup.snapshots.place import Place
from hermes_backup.streams.scratch import scratch


@dataclass(frozen=True)
class Overview:
    """What the places show.

    Attributes:
        held: the snapshots of each place that could be looked into.
        unread: why a place does not give the manifest of a snapshot, by place and name.
        lost: which newest snapshot a place is known to have held, and does not show.
        unreachable: why a place could not be looked into.
    """

    held: Mapping[str, tuple[Listed, ...]]
    unread: Mapping[tuple[str, SnapshotName], Fault]
    lost: tuple[Fault, ...]
    unreachable: tuple[Fault, ...]


def overview(records: Records, source: str, last: int) -> Overview:
    """Look into every place of a pipeline, or only ``source``; the manifests of the ``last`` are tried, of all where 0.

    Raises:
        Fault: SNAPSHOT_MISSING for a place that is not the pipeline's; KEY_INVALID.
    """
    config, pipeline = records.config, records.pipeline
    known = {it.label: records.of(it.label) for it in places_of(config, pipeline, source)}
    held: dict[str, tuple[Listed, ...]] = {}
    unread: dict[tuple[str, SnapshotName], Fault] = {}
    lost: list[Fault] = []
    unreachable: list[Fault] = []
    for place, catalog in catalogs(config, pipeline, source):
        try:
            if isinstance(catalog, Fault):
                raise catalog
            held[place.label] = catalog.listed
            finished = [it for it in catalog.listed if it.finished]
            newest = max((it.name for it in finished), default=None)
            gone = rolled_back(place.label, newest, {it.name: "" for it in finished}, known[place.label])
            lost += [gone] if gone else []
            refused = _refused(place, folder_of(config.host, pipeline.name), finished[-last:])
            unread |= {(place.label, name): fault for name, fault in refused.items()}
        except Fault as fault:
            unreachable.append(Fault(fault.kind, fault.what, where=place.label, mend=fault.mend))
    return Overview(held, unread, tuple(lost), tuple(unreachable))


def _refused(place: Place, folder: str, finished: Sequence[Listed]) -> Mapping[SnapshotName, Fault]:
    files = {file.name: it.name for it in finished if (file := it.file("manifest")) and file.size <= LONGEST_MANIFEST}
    with scratch() as target:
        refused = place.fetch_many(folder, list(files), target)
    return {files[name]: fault for name, fault in refused.items()}
