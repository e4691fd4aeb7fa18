"""Which snapshot is wanted, and which place gives it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

from hermes_backup.errors import SNAPSHOT_MISSING, Fault
from hermes_backup.pipeline.config import HostConfig
from hermes_backup.pipeline.model import Pipeline
from hermes_backup.pipeline.places import catalogs
from hermes_backup.snapshots.catalog import Catalog, Known, Listed, candidates, find, load_manifests
from hermes_backup.snapshots.place import Place
from hermes_backup.snapshots.signing import Pinned

Chosen = tuple[Place, Listed]
Seen = tuple[Place, Catalog | Fault]
Loader = Callable[[Place, str, str, Sequence[Listed], Pinned], Sequence[Known | Fault]]
_AT_ONCE = 20  # manifests to look at before older ones are fetched


def choose(
    config: HostConfig, pipeline: Pipeline, wanted: str, source: str = "", pinned: Pinned | None = None
) -> Chosen:
    """Find the wanted snapshot in the first place that has it; for ``latest`` or a time, the newest that any place has.

    With ``pinned``, what calls itself the newest counts only if that key signed it: a name alone is no proof.

    Raises:
        Fault: SNAPSHOT_MISSING, or why no place could be looked into; it tells what each place said.
    """
    return choose_among(catalogs(config, pipeline, source), config.host, pipeline.name, wanted, pinned)


def choose_among(
    seen: Iterable[Seen],
    host: str,
    pipeline: str,
    wanted: str,
    pinned: Pinned | None = None,
    load: Loader = load_manifests,
) -> Chosen:
    """Choose as :func:`choose` does, in places that were looked into before; ``load`` gives manifests.

    Raises:
        Fault: as :func:`choose`.
    """
    having: list[tuple[Place, Listed]] = []
    faults: list[tuple[Place, Fault]] = []
    for place, catalog in seen:
        try:
            if isinstance(catalog, Fault):
                raise catalog
            several = candidates(catalog.listed, wanted) if pinned is not None else None
            signed = newest_signed(place, host, pipeline, several, pinned, load) if several and pinned else None
            # where none is signed, the newest will say why it is refused
            having.append((place, signed or find(catalog.listed, wanted)))
        except Fault as fault:
            faults.append((place, fault))
    if having:
        return max(having, key=lambda it: it[1].name)
    if not faults:
        raise Fault(SNAPSHOT_MISSING, f"pipeline {pipeline} keeps snapshots nowhere")
    first = faults[0][1]
    said = "; ".join(f"{place.label}: {fault.what}" for place, fault in faults)
    raise Fault(first.kind, said, mend=first.mend)


def newest_signed(
    place: Place,
    host: str,
    pipeline: str,
    newest_first: Sequence[Listed],
    pinned: Pinned,
    load: Loader = load_manifests,
) -> Listed | None:
    """Return the first that the pinned key signed; None where it signed none.

    Raises:
        Fault: REMOTE_UNREACHABLE, DISK_FULL.
    """
    for start in range(0, len(newest_first), _AT_ONCE):
        some = newest_first[start : start + _AT_ONCE]
        for one, known in zip(some, load(place, host, pipeline, some, pinned), strict=True):
            if isinstance(known, Known):
                return one
    return None
