"""Whether a snapshot can come back from its place, as far as manifests tell: a delta needs what it was made against."""

from __future__ import annotations

from typing import TYPE_CHECKING

from hermes_backup.errors import BASE_MISSING, DATA_DAMAGED, Fault
from hermes_backup.snapshots.catalog import Known

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from hermes_backup.snapshots.catalog import Listed
    from hermes_backup.snapshots.names import SnapshotName


def load_founded(
    some: Sequence[Listed], listed: Iterable[Listed], load: Callable[[Sequence[Listed]], Sequence[Known | Fault]]
) -> tuple[Known | Fault, ...]:
    """Return what ``load`` gives for some snapshots of a place; a delta is known only if its base in ``listed`` is.

    Raises:
        Fault: as ``load``.
    """
    loaded = load(some)
    bases = {it.base for it in loaded if isinstance(it, Known)} - {one.name for one in some}
    others = [one for one in listed if one.name in bases]
    seen = {one.name: it for one, it in zip(some, loaded, strict=True)}
    seen |= {one.name: it for one, it in zip(others, load(others) if others else (), strict=True)}
    return tuple((isinstance(it, Known) and unfounded(it, seen)) or it for it in loaded)


def unfounded(known: Known, seen: Mapping[SnapshotName, Known | Fault]) -> Fault | None:
    """Return why a delta is worth nothing, by all that is seen in its place: its base must be known, and a full one.

    Such a Fault is BASE_MISSING, DATA_DAMAGED, or of the kind that keeps the base unknown, and names the delta.
    """
    if known.base is None:
        return None
    base, where = seen.get(known.base), str(known.name)
    if base is None:
        return Fault(BASE_MISSING, f"it holds what changed since {known.base}, which is not there", where=where)
    if isinstance(base, Fault):
        return Fault(base.kind, f"it holds what changed since {known.base}: {base.what}", where=where)
    if base.base is not None:
        return Fault(DATA_DAMAGED, f"{base.name} is a delta, and cannot be the base of {known.name}", where=where)
    return None
