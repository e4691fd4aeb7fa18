"""Which snapshot is wanted, and which place gives it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from functools import partial

from hermes_backup.errors import SNAPSHOT_MISSING, Fault
from hermes_backup.pipeline.config import HostConfig
from hermes_backup.pipeline.model import Pipeline
from hermes_backup.pipeline.places import catalogs
from hermes_backup.snapshots.catalog import Catalog, Known, Listed, candidates, find, load_manifests
from hermes_backup.snapshots.founding import load_founded
from hermes_backup.snapshots.place import Place
from hermes_backup.snapshots.signing import Pinned

Chosen = tuple[Place, Listed]
Seen = tuple[Place, Catalog | Fault]
Loader = Callable[[Place, Sequence[Listed]], Sequence[Known | Fault]]
_AT_ONCE = 20  # manifests to look at before older ones are fetched


def choose(
    config: HostConfig, pipeline: Pipeline, wanted: str, source: str = "", pinned: Pinned | None = None
) -> Chosen:
    """Find the wanted snapshot in the first place that has it; for ``latest`` or a time, the newest that any place has.

    With ``pinned``, a name is no proof: first come places where that key signed it, and its base if it is a delta.

    Raises:
        Fault: SNAPSHOT_MISSING, or why no place could be looked into; it tells what each place said.
    """

    def load(place: Place, listed: Sequence[Listed]) -> Sequence[Known | Fault]:
        return load_manifests(place, config.host, pipeline.name, listed, pinned) if pinned else ()

    return choose_among(catalogs(config, pipeline, source), pipeline.name, wanted, load if pinned else None)


def choose_among(seen: Iterable[Seen], pipeline: str, wanted: str, load: Loader | None) -> Chosen:
    """Choose as :func:`choose` does, in places that were looked into before; ``load`` gives manifests that are proven.

    Raises:
        Fault: as :func:`choose`.
    """
    having: list[tuple[bool, Place, Listed]] = []
    faults: list[tuple[Place, Fault]] = []
    for place, catalog in seen:
        try:
            if isinstance(catalog, Fault):
                raise catalog
            named = find(catalog.listed, wanted)
            several = candidates(catalog.listed, wanted) or [named]
            signed = newest_signed(place, several, catalog.listed, load) if load else None
            # where none is signed, the newest will say why it is refused
            having.append((signed is not None, place, signed or named))
        except Fault as fault:
            faults.append((place, fault))
    if having:
        _, place, chosen = max(having, key=lambda it: (it[0], it[2].name))
        return place, chosen
    if not faults:
        raise Fault(SNAPSHOT_MISSING, f"pipeline {pipeline} keeps snapshots nowhere")
    first = faults[0][1]
    said = "; ".join(f"{place.label}: {fault.what}" for place, fault in faults)
    raise Fault(first.kind, said, mend=first.mend)


def newest_signed(
    place: Place, newest_first: Sequence[Listed], listed: Sequence[Listed], load: Loader
) -> Listed | None:
    """Return the first that is proven, and its base among ``listed`` if it is a delta; None where none is.

    Raises:
        Fault: REMOTE_UNREACHABLE, DISK_FULL.
    """
    for start in range(0, len(newest_first), _AT_ONCE):
        for known in load_founded(newest_first[start : start + _AT_ONCE], listed, partial(load, place)):
            if isinstance(known, Known):
                return known.listed
    return None
