"""A glance at the home before any work: where its marks are those of the last snapshot, there is nothing to do."""

from __future__ import annotations

import os
from collections.abc import Sequence
from functools import partial
from typing import Any, ClassVar

from hermes_backup.errors import Fault
from hermes_backup.home.databases.finding import find
from hermes_backup.home.databases.holders import split_brain
from hermes_backup.home.marks import Marks, difference, take
from hermes_backup.home.selection import Rules, Selection, select
from hermes_backup.home.timekeeping import settled, untold
from hermes_backup.pipeline import marked
from hermes_backup.pipeline.marked import Marked, Moment
from hermes_backup.stages.archive import Archive, tell
from hermes_backup.stages.command import Command
from hermes_backup.stages.context import Context
from hermes_backup.stages.destination import Destination
from hermes_backup.stages.encrypt import Encrypt
from hermes_backup.stages.holding import comparable, held_last
from hermes_backup.stages.ledger import Entry
from hermes_backup.stages.service import Service, left_stopped
from hermes_backup.stages.sqlite import Sqlite
from hermes_backup.stages.stage import Stage
from hermes_backup.stages.things import Home, Snapshot
from hermes_backup.streams.directory import Directory

_KNOWN = (Command, Service, Sqlite, Archive, Encrypt)
_READING = (Sqlite, Archive)


class Glance(Stage):
    """Compare the home's marks with those of the last snapshot, and remember them for the next run.

    Attributes:
        decides: whether a home with the same marks ends the run; else they are only taken.
        remembers: whether they are taken for the next run: before anything is read.
    """

    name: ClassVar[str] = "compare"
    takes: ClassVar[tuple[type, ...]] = (Home,)
    gives: ClassVar[type] = Home

    archive: Archive
    destinations: tuple[Destination, ...]
    decides: bool
    remembers: bool

    def run(self, value: Any, context: Context) -> Home | Snapshot:
        """Return the last snapshot where nothing was written to the home since, and else the home."""
        home: Home = value
        rules = self.archive.rules(home)
        moment = Moment.now()
        seen = select(home.root, rules)
        last = comparable(context)
        if self.decides and last is not None:
            # the first group decides, as where contents are compared; later ones fill up what they lack
            places = tuple(it.place for one in self.destinations for it in one.targets(context) if not it.spare)
            why = _changed(home.root, seen, last, moment, context)
            if not why and held_last(places, context) is None:
                why = "the last snapshot is not where it was put"
            if not why:
                tell(seen, context)
                context.teardown.home_released.close()
                context.listener.note(self.name, f"unchanged since {last.manifest.name}, by its marks")
                return Snapshot(last.manifest.name, last.manifest, places, unchanged=True)
            context.listener.note(self.name, f"by content: {why}")
        if self.remembers:
            self._remember(home.root, rules, seen, moment, context)
        return home

    def _remember(self, root: Directory, rules: Rules, seen: Selection, moment: Moment, context: Context) -> None:
        """Arrange that the marks are kept once there is a whole snapshot of what they are of."""
        try:
            marked.forget(context.ledger.folder)
            taken = take(root, seen, [it.name for it in find(root, seen)])
        except OSError as error:
            context.listener.note(self.name, f"not marked: {error}")
            return
        why = untold(root, seen)
        if not why and not settled(taken.newest, moment.wall):
            why = "something was written just before"
        if why:
            context.listener.note(self.name, f"not marked: {why}")
        else:
            context.teardown.succeeded.append(partial(self._keep, root, rules, taken, moment, context))

    def _keep(self, root: Directory, rules: Rules, taken: Marks, moment: Moment, context: Context) -> None:
        """Keep marks that are still the home's: a file that came while it was read, and goes, is in the snapshot."""
        last = comparable(context)
        try:
            seen = select(root, rules)
            why = untold(root, seen) or difference(taken, take(root, seen, [it.name for it in taken.databases]))
            if last is not None and not why:
                marked.write(context.ledger.folder, Marked.of(last, taken, moment))
        except (Fault, OSError) as error:
            why = str(error)
        if why:
            context.listener.note(self.name, f"not marked: {why}")


def with_glance(stages: Sequence[Stage], *, trusting: bool) -> tuple[Stage, ...]:
    """Return the stages with a glance among them, after all that may write to the home, before all that read it.

    Not ``trusting``, it decides nothing and only remembers. Where a stage is not one of ours, nobody knows what it
    adds to the home, and there is no glance.
    """
    first = next((number for number, it in enumerate(stages) if isinstance(it, Destination)), len(stages))
    before = stages[:first]
    reading = next((number for number, it in enumerate(before) if isinstance(it, _READING)), first)
    look = 1 + max((number for number, it in enumerate(before) if isinstance(it, Command)), default=-1)
    archive = next((it for it in before if isinstance(it, Archive)), None)
    if archive is None or first == len(stages) or look > reading or any(type(it) not in _KNOWN for it in before):
        return tuple(stages)
    group = next((number for number in range(first, len(stages)) if not isinstance(stages[number], Destination)), None)
    destinations = tuple(it for it in stages[first:group] if isinstance(it, Destination))
    glance = partial(Glance, archive=archive, destinations=destinations)
    stopped = 1 + max((number for number in range(look, reading) if isinstance(stages[number], Service)), default=-1)
    if not stopped:
        return (*stages[:look], glance(decides=trusting, remembers=True), *stages[look:])
    looking = [glance(decides=True, remembers=False)] if trusting else []
    taking = glance(decides=False, remembers=True)
    return (*stages[:look], *looking, *stages[look:stopped], taking, *stages[stopped:])


def _changed(root: Directory, seen: Selection, last: Entry, now: Moment, context: Context) -> str:
    """Say why a home may be another than its last snapshot; empty where it is the same."""
    known = marked.read(context.ledger.folder)
    if left_stopped(context.ledger.folder):
        return "a run that was killed left a unit stopped"
    if known is None:
        return "there are no marks of the last snapshot"
    databases = [it.name for it in known.marks.databases]
    try:
        why = known.doubt(last, now) or untold(root, seen) or difference(known.marks, take(root, seen, databases))
    except OSError as error:
        return str(error)
    if not why and split_brain(*(root.shown / os.fsdecode(it) for it in databases)):
        return "a process writes to a log that was deleted"
    return why
