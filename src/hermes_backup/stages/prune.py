"""Stage ``prune``: keep the right snapshots, and delete only what a valid manifest names as ours."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Annotated, Any, ClassVar

from pydantic import BeforeValidator, Field, PlainSerializer, model_validator

from hermes_backup.errors import CHAIN_BROKEN, SNAPSHOT_UNREADABLE, ExitCode, Fault
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
from hermes_backup.snapshots.retention import Candidate, Decision, Rules, decide, parse_within
from hermes_backup.snapshots.signing import Pinned
from hermes_backup.stages.context import Context
from hermes_backup.stages.stage import Stage
from hermes_backup.stages.things import Snapshot
from hermes_backup.streams.squashfs import SUFFIX as IMAGE

_MOUNTED = "mounted"
_WITNESS = "shows what a killed run left"
_MEND = (
    "Nothing was deleted. Back up again: prune goes on once the newest snapshot is whole. If that one is damaged too, "
    "use another remote."
)
Count = Annotated[int, Field(ge=0)]
Within = Annotated[str, BeforeValidator(lambda text: parse_within(text) and text), PlainSerializer(str)]


class Prune(Stage):
    """Thin out old snapshots. On a host this touches its local store; its remotes only where it is its own controller.

    A snapshot that any rule keeps is kept, and so are what a delta that is kept was made against, and an image that is
    mounted from where it lies. Before anything goes, the newest is read back whole from its place. What a killed run
    left without a manifest goes when it is a day old.
    """

    name: ClassVar[str] = "prune"
    takes: ClassVar[tuple[type, ...]] = (Snapshot,)
    gives: ClassVar[type] = Snapshot

    keep_last: Count = 0
    """So many of the newest."""
    keep_hourly: Count = 0
    """The newest of each of so many hours that have one."""
    keep_daily: Count = 0
    """The newest of each of so many days."""
    keep_weekly: Count = 0
    """The newest of each of so many ISO weeks."""
    keep_monthly: Count = 0
    """The newest of each of so many months."""
    keep_yearly: Count = 0
    """The newest of each of so many years."""
    keep_within: Within | None = None
    """All that are at most so much older than the newest, such as ``30d`` or ``1y6m``."""

    @model_validator(mode="after")
    def _some_rule(self) -> Prune:
        if self.rules().empty:
            raise ValueError(
                "give at least one of keep_last, keep_hourly, … keep_within: without any, nothing would go"
            )
        return self

    def rules(self) -> Rules:
        """Return the settings as retention's rules."""
        return Rules(
            self.keep_last,
            self.keep_hourly,
            self.keep_daily,
            self.keep_weekly,
            self.keep_monthly,
            self.keep_yearly,
            parse_within(self.keep_within) if self.keep_within else None,
        )

    def plan(self, context: Context) -> tuple[str, ...]:
        """Say by which rules."""
        del context
        return (", ".join(f"{key} {value}" for key, value in self.model_dump(exclude_defaults=True).items()),)

    def run(self, value: Any, context: Context) -> Snapshot:
        """Prune each place of the snapshot that is this host's to prune."""
        snapshot: Snapshot = value
        if context.host_key is None:
            return snapshot
        whose = (context.host, context.pipeline)
        journal = PruneJournal(context.ledger.folder / "prune.json")

        def tell(text: str) -> None:
            context.listener.note(self.name, text)

        with Pinned.load(context.host_key.public(), context.folder) as pinned:
            for place in snapshot.places:
                if isinstance(place, FolderPlace) or context.own_controller:
                    thinned = thin(place, whose, self.rules(), pinned, context.now, journal, tell=tell)
                    gone = len(thinned.pruned.deleted)
                    tell(f"{place.label}: {gone} deleted, {thinned.pruned.freed} bytes freed")
                    for it in thinned.mounted:
                        tell(f"{place.label}: {it} stays, for it is mounted")
                    for fault in thinned.unread:  # the new snapshot is sent and needs none of it: no failed run
                        context.listener.warn(self.name, f"{fault}: it stays, and what it may need")
        return snapshot


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


def thin(
    place: Place,
    whose: tuple[str, str],
    rules: Rules,
    pinned: Pinned,
    now: datetime,
    journal: PruneJournal,
    *,
    dry_run: bool = False,
    tell: Callable[[str], None] = lambda _: None,
) -> Thinned:
    """Decide for one place, host and pipeline, and delete what is let go unless ``dry_run``, which reads no data.

    Before a snapshot is deleted, the newest that stays is read back whole, and as a delta its base, too: what the place
    tells of them is no proof. An image that is mounted from where it lies stays, and so does what a
    snapshot may need whose manifest the place does not give. What a killed run left goes, and what
    a killed prune had begun to delete, by the ``journal``; ``tell`` hears of each file before.

    Raises:
        Fault: PRUNE_CLOCK, REMOTE_UNREACHABLE; CHAIN_BROKEN, DATA_DAMAGED, BASE_MISSING when there is reason to touch
            nothing.
    """
    host, pipeline = whose
    folder = folder_of(host, pipeline)
    listed = read_catalog(place, host, pipeline).listed
    loaded = load_manifests(place, host, pipeline, listed, pinned)
    known = [it for it in loaded if isinstance(it, Known)]
    unproven = tuple(it for it in loaded if isinstance(it, Fault))
    broken = next((it for it in check_chain(known) if it.grave), None)
    if broken is not None:
        raise Fault(CHAIN_BROKEN, f"{broken}; nothing is pruned", where=place.label)
    left = leftovers(listed, known)
    old = removable(left, known, now, place.modified(folder) if left else {})

    bound = bound_by_unread(
        known, [one for one, it in zip(listed, loaded, strict=True) if isinstance(it, Fault) and _is_unread(it)]
    )

    def decided(proven: SnapshotName | None = None) -> tuple[Decision, ...]:
        made = decide(_candidates(known, proven, bound), rules, now)
        return _sparing_mounted(place, folder, _sparing_witnesses(made, known, set(left) - set(old)), known)

    decisions = decided()
    if not dry_run and not all(it.keep for it in decisions):
        decisions = decided(_read_back_newest(place, folder, decisions, known))
    begun = set(journal.going(place.label))
    ending = [one for one in listed if one.state == "incomplete" and {file.name for file in one.files} <= begun]
    going = [*(it.listed for it in old), *ending]
    gone = remove_leftovers(place, folder, [file.name for it in going for file in it.files], tell, dry_run=dry_run)
    pruned = Pruned((), 0) if dry_run else prune(place, folder, decisions, known, journal)
    named = {str(it.name) for it in going}
    return Thinned(place.label, decisions, gone, pruned, tuple(it for it in unproven if it.where not in named))


def _read_back_newest(place: Place, folder: str, decisions: Sequence[Decision], known: Sequence[Known]) -> SnapshotName:
    """Prove the newest that stays, for a restore will take it when the others are gone; return its name."""
    by_name = {it.name: it for it in known}
    newest = by_name[max(it.name for it in decisions if it.keep)]
    fault = unfounded(newest, by_name)
    try:
        if fault is not None:
            raise fault
        for name in (newest.base, newest.name):
            if name is not None:
                read_back(place, folder, by_name[name].manifest)
    except Fault as found:
        what = f"{newest.name}, the newest here, does not come back whole: {found.what}; nothing is pruned"
        mend = _MEND if found.kind.exit_code is ExitCode.VERIFY else found.mend
        raise Fault(found.kind, what, where=place.label, mend=mend) from None
    return newest.name


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


def _candidates(
    known: Sequence[Known], proven: SnapshotName | None, bound: Mapping[SnapshotName, str]
) -> list[Candidate]:
    return [Candidate(it.name, it.name == proven, it.base, bound.get(it.name, "")) for it in known]


def _sparing_mounted(
    place: Place, folder: str, decisions: tuple[Decision, ...], known: Sequence[Known]
) -> tuple[Decision, ...]:
    if not isinstance(place, FolderPlace):
        return decisions
    going = {it.name for it in decisions if not it.keep}
    images = {it.name: place.root / folder / it.manifest.data.name for it in known if it.name in going}
    mounted = in_use([it for it in images.values() if it.name.endswith(IMAGE)])
    spared = {name for name, image in images.items() if image in mounted}
    return tuple(replace(it, keep=True, reasons=(_MOUNTED,)) if it.name in spared else it for it in decisions)


def rules_of(stages: Sequence[Stage]) -> Rules | None:
    """Return the rules of the first prune stage; None where there is none."""
    return next((stage.rules() for stage in stages if isinstance(stage, Prune)), None)
