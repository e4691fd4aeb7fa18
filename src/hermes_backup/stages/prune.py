"""Stage ``prune``: keep the right snapshots, and delete only what a valid manifest names as ours."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta
from functools import partial
from typing import Annotated, Any, ClassVar

from pydantic import BeforeValidator, Field, PlainSerializer, model_validator

from hermes_backup.snapshots.folder import FolderPlace
from hermes_backup.snapshots.names import SnapshotName
from hermes_backup.snapshots.place import Place
from hermes_backup.snapshots.prune_journal import PruneJournal
from hermes_backup.snapshots.retention import Rules, parse_within
from hermes_backup.snapshots.sightings import Pace, Sightings
from hermes_backup.stages.context import Context
from hermes_backup.stages.expire import Stock, Thinned, look, read_all, thin
from hermes_backup.stages.stage import Stage
from hermes_backup.stages.things import Snapshot

_SEEN = "seen.json"
_OWN_PACE = Pace(timedelta(0), limited=False)
Count = Annotated[int, Field(ge=0)]
Within = Annotated[str, BeforeValidator(lambda text: parse_within(text) and text), PlainSerializer(str)]


class Prune(Stage):
    """Thin out old snapshots. On a host this touches its local store; its remotes only where it is its own controller.

    A snapshot that any rule keeps is kept, and so are what a delta that is kept was made against, and an image that is
    mounted from where it lies. Before anything goes, the newest is read back whole from its place. What a killed run
    left without a manifest goes when it is a day old.

    On the trusted machine the rules are also asked of the first snapshot of each time in which the schedule makes one,
    so that none made besides lets those go.
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
        """Prune each place of the snapshot that is this host's to prune; one that cannot be read fails at the end."""
        snapshot: Snapshot = value
        if context.host_key is None:
            return snapshot
        places = [it for it in snapshot.places if context.own_controller or _is_store(it)]
        with context.host_key.pinned() as pinned:
            stocks, faults = read_all(places, context.host, context.pipeline, pinned)
        seen = self._seen(stocks, pinned.fingerprint, context, snapshot.name)
        journal = PruneJournal(context.ledger.folder / "prune.json")
        tell = partial(context.listener.note, self.name)
        for stock in stocks:
            self._tell(thin(stock, seen, self.rules(), context.now, journal, tell=tell), context)
        for fault in faults:
            raise fault
        return snapshot

    def _seen(self, stocks: Sequence[Stock], fingerprint: str, context: Context, made: SnapshotName) -> Sightings:
        """Look, and keep it in mind. What this host's own runs make is never too much for it."""
        path = context.ledger.folder / _SEEN
        before, notice = Sightings.recall(path, fingerprint)
        if notice and path.exists():
            context.listener.warn(self.name, notice)
        complete = {it.place.label for it in stocks} >= set(before.places)
        seen = look(before, stocks, context.now, _OWN_PACE, path, complete=complete, made=made)
        seen.write(path)
        return seen

    def _tell(self, thinned: Thinned, context: Context) -> None:
        gone = len(thinned.pruned.deleted)
        context.listener.note(self.name, f"{thinned.place}: {gone} deleted, {thinned.pruned.freed} bytes freed")
        for it in thinned.mounted:
            context.listener.note(self.name, f"{thinned.place}: {it} stays, for it is mounted")
        for fault in thinned.unread:  # the new snapshot is sent and needs none of it: no failed run
            context.listener.warn(self.name, f"{fault}: it stays, and what it may need")
        if thinned.suspects is not None:
            context.listener.warn(self.name, f"{thinned.place}: {thinned.suspects.what}")


def _is_store(place: Place) -> bool:
    return isinstance(place, FolderPlace) and place.is_store


def rules_of(stages: Sequence[Stage]) -> Rules | None:
    """Return the rules of the first prune stage; None where there is none."""
    return next((stage.rules() for stage in stages if isinstance(stage, Prune)), None)
