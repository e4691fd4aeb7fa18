"""What a place holds of a pipeline, thinned out: read, decide, prove that something is whole, and delete what goes."""

from __future__ import annotations

import shlex
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from functools import cache
from pathlib import Path

from hermes_backup.errors import CHAIN_BROKEN, DATA_DAMAGED, INTERRUPTED, SNAPSHOT_SUSPECT, Fault
from hermes_backup.home.in_use import in_use
from hermes_backup.snapshots.catalog import Known, Listed, check_chain, load_manifests, read_catalog
from hermes_backup.snapshots.folder import FolderPlace
from hermes_backup.snapshots.founding import unfounded
from hermes_backup.snapshots.names import SnapshotName, folder_of
from hermes_backup.snapshots.place import Place
from hermes_backup.snapshots.proving import matching
from hermes_backup.snapshots.prune import Pruned, prune
from hermes_backup.snapshots.retention import Candidate, Decision, Rules, decide
from hermes_backup.snapshots.sightings import Pace, Shown, Sightings
from hermes_backup.snapshots.signing import Pinned
from hermes_backup.streams.squashfs import SUFFIX as IMAGE

_MOUNTED = "mounted"
_NAMED = 3


@dataclass(frozen=True)
class Stock:
    """What a place holds of a pipeline; ``known`` is proven to be the host's, ``unproven`` says why the rest is not."""

    place: Place
    host: str
    pipeline: str
    listed: tuple[Listed, ...]
    known: tuple[Known, ...]
    unproven: tuple[Fault, ...]

    @property
    def shown(self) -> tuple[Shown, ...]:
        """What it shows of snapshots that the host signed."""
        return tuple((it.name, it.manifest_sha256) for it in self.known)

    @property
    def folder(self) -> str:
        """Where they lie in the place."""
        return folder_of(self.host, self.pipeline)


@dataclass(frozen=True)
class Thinned:
    """What was decided for one place, what went, and which snapshots nobody may touch because nothing proves them."""

    place: str
    decisions: tuple[Decision, ...]
    pruned: Pruned
    unproven: tuple[Fault, ...]

    @property
    def mounted(self) -> tuple[SnapshotName, ...]:
        """Those that no rule keeps, and that stay because their image is mounted."""
        return tuple(it.name for it in self.decisions if it.reasons == (_MOUNTED,))

    @property
    def suspects(self) -> Fault | None:
        """Those that the host's key signed, and that do not count: SNAPSHOT_SUSPECT with the reason of each."""
        return suspicion(self.place, {it.name: it.reasons[0] for it in self.decisions if it.suspect})


def suspicion(place: str, doubts: dict[SnapshotName, str]) -> Fault | None:
    """Return SNAPSHOT_SUSPECT for the snapshots of a place that do not count, the first of them with their reasons."""
    if not doubts:
        return None
    first = "; ".join(f"{name}: {why}" for name, why in sorted(doubts.items())[:_NAMED])
    more = f"; and {len(doubts) - _NAMED} more" if len(doubts) > _NAMED else ""
    count = "1 snapshot does" if len(doubts) == 1 else f"{len(doubts)} snapshots do"
    return Fault(SNAPSHOT_SUSPECT, f"{count} not count: {first}{more}", where=place)


def read_all(
    places: Iterable[Place], host: str, pipeline: str, pinned: Pinned
) -> tuple[tuple[Stock, ...], tuple[Fault, ...]]:
    """Return what each place holds of a pipeline, and why the others cannot be read."""
    stocks: list[Stock] = []
    faults: list[Fault] = []
    for place in places:
        try:
            listed = read_catalog(place, host, pipeline).listed
            loaded = load_manifests(place, host, pipeline, listed, pinned)
        except Fault as fault:
            if fault.kind is INTERRUPTED:
                raise
            faults.append(Fault(fault.kind, fault.what, where=place.label, mend=fault.mend))
        else:
            known = tuple(it for it in loaded if isinstance(it, Known))
            unproven = tuple(it for it in loaded if isinstance(it, Fault))
            stocks.append(Stock(place, host, pipeline, listed, known, unproven))
    return tuple(stocks), tuple(faults)


def look(
    before: Sightings,
    stocks: Sequence[Stock],
    now: datetime,
    pace: Pace,
    path: Path,
    *,
    complete: bool,
    made: SnapshotName | None = None,
) -> Sightings:
    """Return what is known after a look at what places hold; ``complete``: there are no others.

    ``path`` is where that is kept, ``made`` a snapshot that this machine has just made.

    Raises:
        Fault: PRUNE_CLOCK.
    """
    try:
        seen = before.look({it.place.label: it.shown for it in stocks}, now, pace, made)
    except Fault as fault:
        mend = f"{fault.mend} If the clock was wrong at an earlier look, begin anew: rm {shlex.quote(str(path))}"
        raise Fault(fault.kind, fault.what, where=fault.where, mend=mend) from None
    if not complete:
        return seen
    return seen.only([it.place.label for it in stocks], {one.name for it in stocks for one in it.listed})


def thin(
    stock: Stock,
    seen: Sightings,
    rules: Rules,
    now: datetime,
    *,
    proven: SnapshotName | None = None,
    dry_run: bool = False,
) -> Thinned:
    """Decide for one place, and delete what is let go unless ``dry_run``.

    ``seen`` has looked at the place. ``proven`` is a snapshot whose bytes were seen to be right there just now; without
    one, the newest that is whole is looked for by reading before anything is deleted. An image that is mounted from
    where it lies stays.

    Raises:
        Fault: REMOTE_UNREACHABLE; CHAIN_BROKEN or DATA_DAMAGED when there is reason to touch nothing.
    """
    label = stock.place.label
    candidates = [_candidate(it, seen, now) for it in stock.known]
    counted = [known for known, it in zip(stock.known, candidates, strict=True) if not it.doubt]
    broken = next((it for it in check_chain(counted) if it.grave), None)
    if broken is not None:
        raise Fault(CHAIN_BROKEN, f"{broken}; nothing is pruned", where=label)
    whole = set() if proven is None else {proven}
    decisions = decide(_verified(candidates, whole), rules, now)
    if proven is None and not all(it.keep for it in decisions):
        regular = {it.name for it in candidates if it.regular and not it.doubt}
        whole = _newest_whole(stock, counted, regular)
        if not whole:
            raise Fault(DATA_DAMAGED, "no snapshot here is whole; nothing is pruned", where=label)
        decisions = decide(_verified(candidates, whole), rules, now)
    decisions = _sparing_mounted(stock, decisions)
    pruned = Pruned((), 0) if dry_run else prune(stock.place, stock.host, stock.pipeline, decisions, stock.known)
    return Thinned(label, decisions, pruned, stock.unproven)


def _candidate(known: Known, seen: Sightings, now: datetime) -> Candidate:
    sighting = seen.of((known.name, known.manifest_sha256), now)
    regular = sighting.standing == "regular"
    return Candidate(known.name, False, known.base, sighting.first, regular, sighting.why)


def _verified(candidates: Sequence[Candidate], whole: Collection[SnapshotName]) -> list[Candidate]:
    return [replace(it, verified=it.name in whole) for it in candidates]


def _sparing_mounted(stock: Stock, decisions: tuple[Decision, ...]) -> tuple[Decision, ...]:
    place = stock.place
    if not isinstance(place, FolderPlace):
        return decisions
    going = {it.name for it in decisions if not it.keep}
    root = place.root / stock.folder
    images = {it.name: root / it.manifest.data.name for it in stock.known if it.name in going}
    mounted = in_use([it for it in images.values() if it.name.endswith(IMAGE)])
    spared = {name for name, image in images.items() if image in mounted}
    return tuple(replace(it, keep=True, reasons=(_MOUNTED,)) if it.name in spared else it for it in decisions)


def _newest_whole(stock: Stock, counted: Sequence[Known], regular: Collection[SnapshotName]) -> set[SnapshotName]:
    """Return the newest whose bytes are right, as those of its base are, and the newest such of the regular ones."""
    by_name = {it.name: it for it in stock.known}
    read_whole = cache(lambda name: _whole(stock, by_name[name]))  # many deltas have one base
    found: set[SnapshotName] = set()
    for it in sorted(counted, key=lambda one: one.name, reverse=True):
        if found and it.name not in regular:
            continue
        if unfounded(it, by_name) is None and all(read_whole(name) for name in (it.base, it.name) if name):
            found.add(it.name)
            if it.name in regular:
                break
    return found


def _whole(stock: Stock, known: Known) -> bool:
    try:
        for part in known.manifest.parts:
            for _ in matching(stock.place.read(f"{stock.folder}/{part.name}"), part):
                pass
    except Fault:
        return False
    return True
