"""Which snapshots a machine may bring its home from, the newest first, as its own places tell."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property

from hermes_backup.errors import SNAPSHOT_UNREADABLE, Fault
from hermes_backup.pipeline.model import Pipeline
from hermes_backup.snapshots.catalog import Known, load_manifests, read_catalog
from hermes_backup.snapshots.latest import Latest, Sighting, decide
from hermes_backup.snapshots.names import SnapshotName
from hermes_backup.snapshots.place import Place
from hermes_backup.snapshots.signing import Pinned
from hermes_backup.stages.context import Context
from hermes_backup.stages.copying import Target
from hermes_backup.stages.destination import Destination

_LOOKED_AT = 40  # of the newest; retention keeps fewer


@dataclass(frozen=True)
class Candidate:
    """A finished snapshot with a manifest that our own key signed, and a place that holds it.

    What a delta needs may be gone: then it is passed over when it is laid out, and its number is taken all the same.
    """

    place: Place
    known: Known


@dataclass(frozen=True)
class Newest:
    """What the places tell.

    Attributes:
        candidates: the newest first; one that several places hold is there several times.
        sightings: every finished snapshot that was looked at, whether it can be believed or not.
        unreachable: places that did not answer.
    """

    candidates: tuple[Candidate, ...]
    sightings: tuple[Sighting, ...]
    unreachable: tuple[Fault, ...]

    @property
    def name(self) -> SnapshotName | None:
        """The newest that can be believed."""
        return self.candidates[0].known.name if self.candidates else None

    @property
    def highest(self) -> SnapshotName | None:
        """The newest that can be believed, or may be whole though its place does not give it."""
        return max((it.name for it in self.sightings if it.fault is None or _may_be_whole(it.fault)), default=None)

    @cached_property
    def latest(self) -> Latest:
        """What is brought: a damaged snapshot is passed over, and not one that may be whole."""
        return decide(self.sightings, lambda fault: not _may_be_whole(fault))

    @property
    def doubts(self) -> tuple[Fault, ...]:
        """Why there may be a newer one than the first candidate, the gravest first."""
        stop = (self.latest.stop,) if self.latest.stop is not None else ()
        return (*stop, *self.latest.passed, *self.unreachable)


def is_newer(seen: SnapshotName, own: SnapshotName | None) -> bool:
    """Say whether a snapshot is none of this machine's history up to ``own``: another of the same number is not."""
    return own is None or (seen.sequence >= own.sequence and seen != own)


def targets_of(pipeline: Pipeline, context: Context) -> tuple[Target, ...]:
    """Return where a pipeline's snapshots go from this machine."""
    stages = (it for it in pipeline.stages if isinstance(it, Destination))
    return tuple(target for stage in stages for target in stage.targets(context))


def newest(places: Iterable[Place], context: Context) -> Newest:
    """Look into places; only what the host's own key signed counts.

    Raises:
        Fault: KEY_INVALID, DISK_FULL.
    """
    candidates: list[Candidate] = []
    sightings: list[Sighting] = []
    unreachable: list[Fault] = []
    places = tuple(places)
    if not places:
        return Newest((), (), ())
    if context.host_key is None:
        raise ValueError("this run has no key of its own")
    with context.host_key.pinned() as own:
        for place in places:
            try:
                found, seen = _of(place, context, own)
            except Fault as fault:
                unreachable.append(fault)
                continue
            candidates += found
            sightings += seen
    candidates.sort(key=lambda it: it.known.name, reverse=True)
    return Newest(tuple(candidates), tuple(sightings), tuple(unreachable))


def _of(place: Place, context: Context, own: Pinned) -> tuple[list[Candidate], list[Sighting]]:
    listed = read_catalog(place, context.host, context.pipeline).listed
    finished = sorted((it for it in listed if it.finished), key=lambda it: it.name, reverse=True)[:_LOOKED_AT]
    loaded: Sequence[Known | Fault] = load_manifests(place, context.host, context.pipeline, finished, own)
    known = [Candidate(place, it) for it in loaded if isinstance(it, Known)]
    seen = [
        Sighting(one.name, place.label, it if isinstance(it, Fault) else None)
        for one, it in zip(finished, loaded, strict=True)
    ]
    return known, seen


def _may_be_whole(fault: Fault) -> bool:
    return fault.kind is SNAPSHOT_UNREADABLE
