"""What a place holds of a pipeline, thinned out: read, decide, prove that something is whole, and delete what goes."""

from __future__ import annotations

import shlex
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path

from hermes_backup.errors import CHAIN_BROKEN, INTERRUPTED, SNAPSHOT_SUSPECT, SNAPSHOT_UNREADABLE, ExitCode, Fault
from hermes_backup.home.in_use import in_use
from hermes_backup.snapshots.catalog import Known, Listed, check_chain, load_manifests, read_catalog
from hermes_backup.snapshots.folder import FolderPlace
from hermes_backup.snapshots.founding import unfounded
from hermes_backup.snapshots.leftovers import Leftover, leftovers, removable
from hermes_backup.snapshots.names import SnapshotName, folder_of
from hermes_backup.snapshots.place import Place
from hermes_backup.snapshots.proving import read_back
from hermes_backup.snapshots.prune import Pruned, prune, remove_leftovers
from hermes_backup.snapshots.prune_journal import PruneJournal
from hermes_backup.snapshots.retention import Candidate, Decision, Rules, decide
from hermes_backup.snapshots.sightings import Pace, Shown, Sightings
from hermes_backup.snapshots.signing import Pinned
from hermes_backup.streams.squashfs import SUFFIX as IMAGE

_MOUNTED = "mounted"
_NAMED = 3
_WITNESS = "shows what a killed run left"
_MEND = (
    "Nothing was deleted. Back up again: prune goes on once the newest snapshot is whole. If that one is damaged too, "
    "use another remote."
)


@dataclass(frozen=True)
class Stock:
    """What a place holds of a pipeline; ``known`` is proven to be the host's, ``unproven`` says why the rest is not.

    ``unread`` are those whose manifests the place does not give.
    """

    place: Place
    host: str
    pipeline: str
    listed: tuple[Listed, ...]
    known: tuple[Known, ...]
    unproven: tuple[Fault, ...]
    unread: tuple[Listed, ...] = ()

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
    """What was decided for one place, what went, and which snapshots nobody may touch because nothing proves them.

    ``leftovers`` are the files of killed runs that went, or that would go.
    """

    place: str
    decisions: tuple[Decision, ...]
    leftovers: tuple[str, ...]
    pruned: Pruned
    unproven: tuple[Fault, ...]

    @property
    def mounted(self) -> tuple[SnapshotName, ...]:
        """Those that no rule keeps, and that stay because their image is mounted."""
        return tuple(it.name for it in self.decisions if it.reasons == (_MOUNTED,))

    @property
    def unread(self) -> tuple[Fault, ...]:
        """Those that the place did not give: nobody knows what they are, or what they need."""
        unread = (it for it in self.unproven if _is_unread(it))
        return tuple(Fault(it.kind, it.what, where=f"{self.place}: {it.where}", mend=it.mend) for it in unread)

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
            unread = (one for one, it in zip(listed, loaded, strict=True) if isinstance(it, Fault) and _is_unread(it))
            stocks.append(Stock(place, host, pipeline, listed, known, unproven, tuple(unread)))
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
    journal: PruneJournal,
    *,
    dry_run: bool = False,
    tell: Callable[[str], None] = lambda _: None,
) -> Thinned:
    """Decide for one place, and delete what is let go unless ``dry_run``, which reads no data.

    ``seen`` has looked at the place. Before a snapshot is deleted, the newest that stays is read back whole, and as a
    delta its base, too: what the place tells of them is no proof. An image that is mounted stays, and so
    does what a snapshot may need whose manifest the place does not give. What a killed run left goes, and what a
    killed prune had begun to delete, by the ``journal``; ``tell`` hears of each file before.

    Raises:
        Fault: REMOTE_UNREACHABLE; CHAIN_BROKEN, DATA_DAMAGED, BASE_MISSING when there is reason to touch nothing.
    """
    place, folder, known = stock.place, stock.folder, stock.known
    bound = bound_by_unread(known, stock.unread)
    candidates = [replace(_candidate(it, seen, now), bound=bound.get(it.name, "")) for it in known]
    doubted = {it.name for it in candidates if it.doubt}
    broken = next((it for it in check_chain(it for it in known if it.name not in doubted) if it.grave), None)
    if broken is not None:
        raise Fault(CHAIN_BROKEN, f"{broken}; nothing is pruned", where=place.label)
    left = leftovers(stock.listed, known)
    old = removable(left, known, now, place.modified(folder) if left else {})

    def decided(proven: Collection[SnapshotName] = ()) -> tuple[Decision, ...]:
        made = decide(_verified(candidates, proven), rules, now)
        return _sparing_mounted(stock, _sparing_witnesses(made, known, set(left) - set(old)))

    decisions = decided()
    if not dry_run and not all(it.keep for it in decisions):
        decisions = decided(_read_back_newest(stock, decisions, candidates))
    begun = set(journal.going(place.label))
    ending = [one for one in stock.listed if one.state == "incomplete" and {file.name for file in one.files} <= begun]
    going = [*(it.listed for it in old), *ending]
    gone = remove_leftovers(place, folder, [file.name for it in going for file in it.files], tell, dry_run=dry_run)
    pruned = Pruned((), 0) if dry_run else prune(place, folder, decisions, known, journal)
    named = {str(it.name) for it in going}
    return Thinned(place.label, decisions, gone, pruned, tuple(it for it in stock.unproven if it.where not in named))


def _candidate(known: Known, seen: Sightings, now: datetime) -> Candidate:
    sighting = seen.of((known.name, known.manifest_sha256), now)
    regular = sighting.standing == "regular"
    return Candidate(
        known.name, verified=False, base=known.base, first=sighting.first, regular=regular, doubt=sighting.why
    )


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


def _read_back_newest(
    stock: Stock, decisions: Sequence[Decision], candidates: Sequence[Candidate]
) -> set[SnapshotName]:
    """Prove the newest that stays, and the newest of the schedule's: a restore takes them when others are gone.

    Return their names.
    """
    kept = {it.name for it in decisions if it.keep and not it.suspect}
    counted = [it for it in candidates if it.name in kept]
    pools = (counted, [it for it in counted if it.regular])
    newest = {max(it.name for it in pool) for pool in pools if pool}
    for name in sorted(newest):
        _read_back(stock, name)
    return newest


def _read_back(stock: Stock, name: SnapshotName) -> None:
    by_name = {it.name: it for it in stock.known}
    fault = unfounded(by_name[name], by_name)
    try:
        if fault is not None:
            raise fault
        for part in (by_name[name].base, name):
            if part is not None:
                read_back(stock.place, stock.folder, by_name[part].manifest)
    except Fault as found:
        what = f"{name}, the newest here, does not come back whole: {found.what}; nothing is pruned"
        mend = _MEND if found.kind.exit_code is ExitCode.VERIFY else found.mend
        raise Fault(found.kind, what, where=stock.place.label, mend=mend) from None


def _sparing_witnesses(
    decisions: tuple[Decision, ...], known: Sequence[Known], left: Collection[Leftover]
) -> tuple[Decision, ...]:
    """Keep what shows that a killed run's files are nobody's snapshot, until these are old enough to go."""
    bases = {it.name: it.base for it in known}
    shown = {name for it in left for name in it.witnesses}
    spared = shown | {bases[name] for name in shown}
    return tuple(
        replace(it, keep=True, reasons=(_WITNESS,)) if not it.keep and it.name in spared else it for it in decisions
    )


def bound_by_unread(known: Sequence[Known], unread: Sequence[Listed]) -> Mapping[SnapshotName, str]:
    """Return what must stay for the sake of snapshots that cannot be read, each with the reason: a pure decision.

    A delta of one stays: it comes back when its base does. One that may be a delta, as far as its listing tells, was
    made against the last full one before it.
    """
    names = {it.name for it in unread}
    bound = {it.name: f"its base {it.base} cannot be read" for it in known if it.base in names}
    for one in unread:
        fulls = (it.name for it in known if it.base is None and it.name < one.name)
        if not one.complete or one.delta:
            base = max(fulls, default=None)
            bound |= {} if base is None else {base: f"may be the base of {one.name}, which cannot be read"}
    return bound


def _is_unread(fault: Fault) -> bool:
    return fault.kind is SNAPSHOT_UNREADABLE
