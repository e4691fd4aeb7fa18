"""Stage ``prune``: keep the right snapshots, and delete only what a valid manifest names as ours."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from functools import cache
from typing import Annotated, Any, ClassVar

from pydantic import BeforeValidator, Field, PlainSerializer, model_validator

from hermes_backup.errors import CHAIN_BROKEN, DATA_DAMAGED, SNAPSHOT_UNREADABLE, Fault
from hermes_backup.home.in_use import in_use
from hermes_backup.snapshots.catalog import Known, Listed, check_chain, load_manifests, read_catalog
from hermes_backup.snapshots.folder import FolderPlace
from hermes_backup.snapshots.founding import unfounded
from hermes_backup.snapshots.names import SnapshotName, folder_of
from hermes_backup.snapshots.place import Place
from hermes_backup.snapshots.proving import matching
from hermes_backup.snapshots.prune import Pruned, prune
from hermes_backup.snapshots.retention import Candidate, Decision, Rules, decide, parse_within
from hermes_backup.snapshots.signing import Pinned
from hermes_backup.stages.context import Context
from hermes_backup.stages.stage import Stage
from hermes_backup.stages.things import Snapshot
from hermes_backup.streams.squashfs import SUFFIX as IMAGE

_MOUNTED = "mounted"
Count = Annotated[int, Field(ge=0)]
Within = Annotated[str, BeforeValidator(lambda text: parse_within(text) and text), PlainSerializer(str)]


class Prune(Stage):
    """Thin out old snapshots. On a host this touches its local store; its remotes only where it is its own controller.

    A snapshot that any rule keeps is kept, and so are the newest that is verified, what a delta that is kept was made
    against, and an image that is mounted from where it lies.
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
        # of a delta only the patch was seen: what it was made against may have rotted since
        proven = None if snapshot.unchanged or snapshot.manifest.base is not None else snapshot.name
        with Pinned.load(context.host_key.public(), context.folder) as pinned:
            for place in snapshot.places:
                if isinstance(place, FolderPlace) or context.own_controller:
                    thinned = thin(place, whose, self.rules(), pinned, context.now, proven=proven)
                    gone = len(thinned.pruned.deleted)
                    context.listener.note(
                        self.name, f"{place.label}: {gone} deleted, {thinned.pruned.freed} bytes freed"
                    )
                    for it in thinned.mounted:
                        context.listener.note(self.name, f"{place.label}: {it} stays, for it is mounted")
                    for fault in thinned.unread:  # the new snapshot is sent and needs none of it: no failed run
                        context.listener.warn(self.name, f"{fault}: it stays, and what it may need")
        return snapshot


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
    *,
    proven: SnapshotName | None = None,
    dry_run: bool = False,
) -> Thinned:
    """Decide for one place, host and pipeline, and delete what is let go unless ``dry_run``.

    ``proven`` is a snapshot whose bytes were seen to be right there just now; without one, the newest that is whole
    is looked for by reading before anything is deleted. An image that is mounted from where it lies stays, and so does
    what a snapshot may need whose manifest the place does not give.

    Raises:
        Fault: PRUNE_CLOCK, REMOTE_UNREACHABLE; CHAIN_BROKEN or DATA_DAMAGED when there is reason to touch nothing.
    """
    host, pipeline = whose
    listed = read_catalog(place, host, pipeline).listed
    loaded = load_manifests(place, host, pipeline, listed, pinned)
    known = [it for it in loaded if isinstance(it, Known)]
    unproven = tuple(it for it in loaded if isinstance(it, Fault))
    broken = next((it for it in check_chain(known) if it.grave), None)
    if broken is not None:
        raise Fault(CHAIN_BROKEN, f"{broken}; nothing is pruned", where=place.label)
    bound = bound_by_unread(
        known, [one for one, it in zip(listed, loaded, strict=True) if isinstance(it, Fault) and _is_unread(it)]
    )
    decisions = decide(_candidates(known, proven, bound), rules, now)
    if proven is None and not all(it.keep for it in decisions):
        proven = _newest_whole(place, folder_of(host, pipeline), known)
        if proven is None:
            raise Fault(DATA_DAMAGED, "no snapshot here is whole; nothing is pruned", where=place.label)
        decisions = decide(_candidates(known, proven, bound), rules, now)
    decisions = _sparing_mounted(place, folder_of(host, pipeline), decisions, known)
    pruned = Pruned((), 0) if dry_run else prune(place, host, pipeline, decisions, known)
    return Thinned(place.label, decisions, pruned, unproven)


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


def _newest_whole(place: Place, folder: str, known: Sequence[Known]) -> SnapshotName | None:
    by_name = {it.name: it for it in known}
    whole = cache(lambda name: _whole(place, folder, by_name[name]))  # many deltas have one base
    for it in sorted(known, key=lambda one: one.name, reverse=True):
        if unfounded(it, by_name) is None and all(whole(name) for name in (it.base, it.name) if name):
            return it.name
    return None


def _whole(place: Place, folder: str, known: Known) -> bool:
    try:
        for part in known.manifest.parts:
            for _ in matching(place.read(f"{folder}/{part.name}"), part):
                pass
    except Fault:
        return False
    return True


def rules_of(stages: Sequence[Stage]) -> Rules | None:
    """Return the rules of the first prune stage; None where there is none."""
    return next((stage.rules() for stage in stages if isinstance(stage, Prune)), None)
