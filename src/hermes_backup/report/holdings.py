"""What each place holds of a pipeline: its newest snapshot that the host's own key signed."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

from hermes_backup.errors import HOST_KEY_MISSING, SNAPSHOT_UNREADABLE, UNPROVEN, Fault
from hermes_backup.pipeline.cadence import pace
from hermes_backup.pipeline.observation import memory_file
from hermes_backup.pipeline.places import pinned_key, places_of
from hermes_backup.pipeline.rollback import Record, Records, rolled_back
from hermes_backup.report.together import Together
from hermes_backup.snapshots.catalog import Known, Listed, load_manifests, read_catalog
from hermes_backup.snapshots.founding import load_founded
from hermes_backup.snapshots.retention import is_ahead
from hermes_backup.snapshots.sightings import Pace, Sightings
from hermes_backup.stages.expire import suspicion

if TYPE_CHECKING:
    from datetime import datetime
    from pathlib import Path

    from hermes_backup.pipeline.config import HostConfig
    from hermes_backup.pipeline.model import Pipeline
    from hermes_backup.snapshots.names import SnapshotName
    from hermes_backup.snapshots.place import Place

_Load = Callable[[Sequence[Listed]], Sequence[Known | Fault]]


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
        doubt: why a later name there does not count, why nothing there is proven, or which snapshots do not count
            though the host's key signed them (SNAPSHOT_SUSPECT).
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


def look(
    targets: Sequence[tuple[HostConfig, Pipeline]], pins: Path, drills: Path, history: Path, now: datetime
) -> Together[Holding]:
    """Look into every place of these pipelines that this machine reaches, several at once.

    ``pins`` is the folder of the hosts' pinned keys, ``drills`` and ``history`` those of what was seen before.
    """
    return Together(
        [
            partial(_look, Records(config, pipeline, pins, drills), place, history, now)
            for config, pipeline in targets
            for place in places_of(config, pipeline)
        ]
    )


def _look(records: Records, place: Place, history: Path, now: datetime) -> Holding:
    config, pipeline, pins = records.config, records.pipeline, records.pins
    whose = (config.host, pipeline.name, place.label)
    suspects: dict[SnapshotName, str] = {}
    try:
        known = records.of(place.label)
        finished = [it for it in read_catalog(place, config.host, pipeline.name).listed if it.finished]
        if not finished:
            chosen, doubt = None, None
        elif not (pins / f"{config.host}.asc").exists():
            chosen, doubt = _unpinned(config.host, place.label, finished, now)
        else:
            with pinned_key(pins, config.host) as pinned:
                load = partial(load_manifests, place, config.host, pipeline.name, pinned=pinned)
                seen, _ = Sightings.recall(memory_file(history, config.host, pipeline.name), pinned.fingerprint)
                suspects = _suspects(place.label, finished, load, seen, pace(pipeline.schedule), now)
                counted = [it for it in finished if it.name not in suspects]
                chosen, doubt = _newest(place.label, counted, finished, load, now)
                doubt = suspicion(place.label, suspects) or doubt
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


def _suspects(
    place: str, whole: Sequence[Listed], load: _Load, seen: Sightings, pace: Pace, now: datetime
) -> dict[SnapshotName, str]:
    """Return what does not count though the host's key signed it; what nobody signed is no matter of its key's."""
    names = {it.name for it in whole}
    doubted = [it for it in whole if it.name in seen.doubts(place, names, now, pace)]
    if not doubted:
        return {}
    unproven = {it.name for it, known in zip(doubted, load(doubted), strict=True) if isinstance(known, Fault)}
    return seen.doubts(place, names - unproven, now, pace)


def _held(chosen: Listed, whole: Sequence[Listed]) -> Held:
    before = max((it for it in whole if it.name < chosen.name), key=lambda it: it.name, default=None)
    return Held(chosen.name, chosen.size, None if before is None else chosen.size - before.size)


def _unpinned(host: str, place: str, whole: Sequence[Listed], now: datetime) -> tuple[Listed | None, Fault | None]:
    """Return the newest name: without a pinned key names are all there is."""
    newest = max((it for it in whole if not is_ahead(it.name, now)), key=lambda it: it.name, default=None)
    what = f"no key is pinned for host {host}: names are believed"
    ahead = _ahead(place, newest, whole)
    return newest, ahead or Fault(UNPROVEN, what, mend=HOST_KEY_MISSING.mend)


def _newest(
    place: str, some: Sequence[Listed], whole: Sequence[Listed], load: _Load, now: datetime
) -> tuple[Listed | None, Fault | None]:
    """Return the newest of some that is proven as far as its manifest goes, and why it is not the newest name."""
    newest_first = sorted((it for it in some if not is_ahead(it.name, now)), key=lambda it: it.name, reverse=True)
    if not newest_first:
        return None, _ahead(place, None, some)
    chosen, unproven = _proven(place, newest_first, partial(load_founded, listed=whole, load=load))
    return chosen, _ahead(place, newest_first[0], some) or unproven


def _ahead(place: str, newest: Listed | None, some: Sequence[Listed]) -> Fault | None:
    """Say that the newest name lies in the future, where ``newest`` is the newest that does not."""
    last = max((it.name for it in some), default=None)
    if last is None or (newest is not None and last == newest.name):
        return None
    return Fault(UNPROVEN, f"{last} lies in the future: a clock is wrong, there or here", where=place)


def _proven(place: str, newest_first: Sequence[Listed], load: _Load) -> tuple[Listed | None, Fault | None]:
    """Prove the newest by itself, which mostly is all that is needed; else all of the others at once."""
    (first,) = load(newest_first[:1])
    if isinstance(first, Known):
        return first.listed, None
    if first.kind is SNAPSHOT_UNREADABLE:  # it may be whole: how old the newest is, nobody knows
        raise first
    doubt = Fault(UNPROVEN, f"{newest_first[0].name} does not count: {first.what}", where=place)
    for it in load(newest_first[1:]):
        if isinstance(it, Known):
            return it.listed, doubt
    return None, doubt
