"""Which snapshot is wanted, and which place gives it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial

from hermes_backup.errors import SNAPSHOT_MISSING, SNAPSHOT_UNREADABLE, Fault
from hermes_backup.pipeline.config import HostConfig
from hermes_backup.pipeline.executor import Follower
from hermes_backup.pipeline.model import Pipeline
from hermes_backup.pipeline.places import catalogs
from hermes_backup.snapshots.catalog import LATEST, Catalog, Known, Listed, candidates, find, load_manifests
from hermes_backup.snapshots.founding import load_founded
from hermes_backup.snapshots.latest import Sighting, decide
from hermes_backup.snapshots.names import SnapshotName
from hermes_backup.snapshots.place import Place
from hermes_backup.snapshots.signing import Pinned
from hermes_backup.stages.fetch import Fetch

Chosen = tuple[Place, Listed]
Seen = tuple[Place, Catalog | Fault]
Loader = Callable[[Place, Sequence[Listed]], Sequence[Known | Fault]]
_AT_ONCE = 20  # manifests to look at before older ones are fetched


@dataclass(frozen=True)
class Shown:
    """What a place shows of what is wanted: the newest first, down to one that is proven, and some that are older."""

    place: Place
    looked: tuple[tuple[Listed, Known | Fault], ...]


def choose(
    config: HostConfig, pipeline: Pipeline, wanted: str, source: str, pinned: Pinned, follower: Follower
) -> Chosen:
    """Find the wanted snapshot in the first place that gives it; for ``latest`` or a time, the newest of all places.

    A name is no proof: first come places where the pinned key signed it, and its base if it is a delta. ``latest`` is
    the newest that was ever finished, or nothing; an older one in its place must be asked for, by its name or a time.

    Raises:
        Fault: why the newest cannot be restored; SNAPSHOT_MISSING, or why no place could be looked into: it tells what
            each place said.
    """

    def load(place: Place, listed: Sequence[Listed]) -> Sequence[Known | Fault]:
        return load_manifests(place, config.host, pipeline.name, listed, pinned)

    return choose_among(catalogs(config, pipeline, source), pipeline.name, wanted, load, follower)


def choose_among(seen: Iterable[Seen], pipeline: str, wanted: str, load: Loader, follower: Follower) -> Chosen:
    """Choose as :func:`choose` does, in places that were looked into before; ``load`` gives manifests that are proven.

    Raises:
        Fault: as :func:`choose`.
    """
    having: list[Shown] = []
    faults: list[tuple[Place, Fault]] = []
    unfinished: list[tuple[Place, SnapshotName]] = []
    for place, catalog in seen:
        try:
            if isinstance(catalog, Fault):
                raise catalog
            named = find(catalog.listed, wanted)
            several = candidates(catalog.listed, wanted) or [named]
            having.append(shown_by(place, several, catalog.listed, load))
            unfinished += [(place, it.name) for it in catalog.listed if not it.finished]
        except Fault as fault:
            faults.append((place, fault))
    if not having:
        raise _nowhere(faults, pipeline)
    chosen = newest(having, follower, strict=wanted == LATEST)
    if chosen is None:  # none is proven: the newest will say why it is refused
        first = max(having, key=lambda it: it.looked[0][0].name)
        return first.place, first.looked[0][0]
    if wanted == LATEST:
        for text in _perhaps_newer(chosen[1].name, having, faults, unfinished):
            follower.warn(Fetch.name, text)
    return chosen


def shown_by(place: Place, newest_first: Sequence[Listed], listed: Sequence[Listed], load: Loader) -> Shown:
    """Look at snapshots down to one that is proven, and its base among ``listed`` if it is a delta.

    Raises:
        Fault: REMOTE_UNREACHABLE, DISK_FULL.
    """
    looked: list[tuple[Listed, Known | Fault]] = []
    for start in range(0, len(newest_first), _AT_ONCE):
        some = newest_first[start : start + _AT_ONCE]
        loaded = load_founded(some, listed, partial(load, place))
        looked += zip(some, loaded, strict=True)
        if any(isinstance(it, Known) for it in loaded):
            break
    return Shown(place, tuple(looked))


def newest(shown: Sequence[Shown], follower: Follower, *, strict: bool) -> Chosen | None:
    """Return the newest that is proven, from the first place that gives it; None where none is.

    The newer ones that are passed over are told; ``strict``: none may be.

    Raises:
        Fault: why a newer one is none.
    """
    sightings = [
        Sighting(one.name, it.place.label, known if isinstance(known, Fault) else None)
        for it in shown
        for one, known in it.looked
    ]
    latest = decide(sightings, lambda _: not strict)
    if latest.taken is None:
        return None
    if latest.stop is not None:
        what = f"the newest snapshot cannot be restored: {latest.stop.what}"
        mend = f"To take the newest that can be, name it instead of latest: {latest.taken}"
        raise Fault(latest.stop.kind, what, where=latest.stop.where, mend=mend)
    for fault in latest.passed:
        follower.warn(Fetch.name, f"{fault} is newer than {latest.taken}, and cannot be restored")
    for fault in latest.older:
        if fault.kind is SNAPSHOT_UNREADABLE:
            follower.warn(Fetch.name, f"{fault} is older than {latest.taken}, and not needed")
    return next(
        (it.place, one)
        for it in shown
        for one, known in it.looked
        if one.name == latest.taken and isinstance(known, Known)
    )


def _perhaps_newer(
    taken: SnapshotName,
    having: Sequence[Shown],
    faults: Sequence[tuple[Place, Fault]],
    unfinished: Sequence[tuple[Place, SnapshotName]],
) -> Iterator[str]:
    """Say where a newer one may be, of which nobody can know that it was ever finished."""
    finished = {one.name for it in having for one, _ in it.looked}
    for place, name in unfinished:
        if name > taken and name not in finished:
            said = "it is being made, was never finished, or its manifest was taken away"
            yield f"{name} in {place.label} is newer, and has no manifest: {said}"
    for place, fault in faults:
        if fault.kind is not SNAPSHOT_MISSING:
            yield f"{place.label} cannot be asked, and may hold a newer snapshot: {fault.what}"


def _nowhere(faults: Sequence[tuple[Place, Fault]], pipeline: str) -> Fault:
    if not faults:
        return Fault(SNAPSHOT_MISSING, f"pipeline {pipeline} keeps snapshots nowhere")
    first = faults[0][1]
    said = "; ".join(f"{place.label}: {fault.what}" for place, fault in faults)
    return Fault(first.kind, said, mend=first.mend)
