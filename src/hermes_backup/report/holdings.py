"""What each place holds of a pipeline: its newest snapshot that the host's own key signed."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

from hermes_backup.errors import HOST_KEY_MISSING, SNAPSHOT_UNREADABLE, UNPROVEN, Fault
from hermes_backup.pipeline.places import pinned_key, places_of
from hermes_backup.pipeline.rollback import Record, Records, rolled_back
from hermes_backup.report.freshness import SKEW
from hermes_backup.report.together import Together
from hermes_backup.snapshots.catalog import Known, Listed, load_manifests, read_catalog
from hermes_backup.snapshots.founding import load_founded

if TYPE_CHECKING:
    from datetime import datetime
    from pathlib import Path

    from hermes_backup.pipeline.config import HostConfig
    from hermes_backup.pipeline.model import Pipeline
    from hermes_backup.snapshots.names import SnapshotName
    from hermes_backup.snapshots.place import Place


@dataclass(frozen=True)
class Held:
    """A snapshot in a place; ``growth`` is in bytes against the one before it there, None for the first."""

    name: SnapshotName
    size: int
    growth: int | None = None


@dataclass(frozen=True)
class Holding:
    """What a place holds of a pipeline.

    Attributes:
        newest: the newest that counts; None when there is none, or the place cannot be read.
        count: how many whole snapshots are listed there.
        fault: why the place cannot be read.
        doubt: why a later name there does not count, or why nothing there is proven.
        shown: every finished snapshot that is listed there.
        records: what this machine knows to have been there.
    """

    host: str
    pipeline: str
    place: str
    newest: Held | None = None
    count: int = 0
    fault: Fault | None = None
    doubt: Fault | None = None
    shown: frozenset[SnapshotName] = frozenset()
    records: tuple[Record, ...] = ()

    def lost(self, told: Sequence[Record] = ()) -> Fault | None:
        """Return which newest snapshot the place lost, by what this machine knows and by what else is ``told``."""
        if self.fault is not None:
            return None
        newest = None if self.newest is None else self.newest.name
        return rolled_back(self.place, newest, dict.fromkeys(self.shown, ""), (*self.records, *told))


def look(targets: Sequence[tuple[HostConfig, Pipeline]], pins: Path, drills: Path, now: datetime) -> Together[Holding]:
    """Look into every place of these pipelines that this machine reaches, several at once."""
    return Together(
        [
            partial(_look, Records(config, pipeline, pins, drills), place, now)
            for config, pipeline in targets
            for place in places_of(config, pipeline)
        ]
    )


def _look(records: Records, place: Place, now: datetime) -> Holding:
    config, pipeline = records.config, records.pipeline
    whose = (config.host, pipeline.name, place.label)
    try:
        known = records.of(place.label)
        finished = [it for it in read_catalog(place, config.host, pipeline.name).listed if it.finished]
        chosen, doubt = _newest(place, config.host, pipeline.name, finished, records.pins, now)
    except Fault as fault:
        return Holding(*whose, fault=fault)
    return Holding(
        *whose,
        newest=None if chosen is None else _held(chosen, finished),
        count=sum(it.complete for it in finished),
        doubt=doubt,
        shown=frozenset(it.name for it in finished),
        records=known,
    )


def _held(chosen: Listed, whole: Sequence[Listed]) -> Held:
    before = max((it for it in whole if it.name < chosen.name), key=lambda it: it.name, default=None)
    return Held(chosen.name, chosen.size, None if before is None else chosen.size - before.size)


def _newest(
    place: Place, host: str, pipeline: str, whole: Sequence[Listed], pins: Path, now: datetime
) -> tuple[Listed | None, Fault | None]:
    """Return the newest snapshot that is proven as far as its manifest goes, and why it is not the newest name.

    Without a pinned key names are all there is.
    """
    newest_first = sorted((it for it in whole if it.name.time <= now + SKEW), key=lambda it: it.name, reverse=True)
    doubt = None
    if whole and (not newest_first or max(it.name for it in whole) != newest_first[0].name):
        ahead = max(it.name for it in whole if it.name.time > now + SKEW)
        doubt = Fault(UNPROVEN, f"{ahead} lies in the future: a clock is wrong, there or here", where=place.label)
    if not newest_first:
        return None, doubt
    if not (pins / f"{host}.asc").exists():
        what = f"no key is pinned for host {host}: names are believed"
        return newest_first[0], doubt or Fault(UNPROVEN, what, mend=HOST_KEY_MISSING.mend)
    with pinned_key(pins, host) as pinned:
        load = partial(load_manifests, place, host, pipeline, pinned=pinned)
        chosen, unproven = _proven(place, newest_first, partial(load_founded, listed=whole, load=load))
    return chosen, doubt or unproven


def _proven(
    place: Place, newest_first: Sequence[Listed], load: Callable[[Sequence[Listed]], Sequence[Known | Fault]]
) -> tuple[Listed | None, Fault | None]:
    """Prove the newest by itself, which mostly is all that is needed; else all of the others at once."""
    (first,) = load(newest_first[:1])
    if isinstance(first, Known):
        return first.listed, None
    if first.kind is SNAPSHOT_UNREADABLE:  # it may be whole: how old the newest is, nobody knows
        raise first
    doubt = Fault(UNPROVEN, f"{newest_first[0].name} does not count: {first.what}", where=place.label)
    for it in load(newest_first[1:]):
        if isinstance(it, Known):
            return it.listed, doubt
    return None, doubt
