"""Stage ``sqlite``: a consistent copy of every SQLite file of the home."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any, ClassVar, Literal

from pydantic import Field

from hermes_backup.home.copying import Progress, no_progress
from hermes_backup.home.databases import DatabaseBroken, Found, Holder, copy, find, split_brain
from hermes_backup.home.lean import Copied, copy_lean
from hermes_backup.home.printable import printable
from hermes_backup.home.renewing import copy_renewed
from hermes_backup.home.selection import Partial, select
from hermes_backup.stages.context import Context
from hermes_backup.stages.stage import Stage
from hermes_backup.stages.things import Home
from hermes_backup.stages.units import Duration


class Sqlite(Stage):
    """Copy every SQLite file consistently while the agent goes on writing.

    A database that cannot be copied is archived as it lies, and makes the snapshot partial.

    Search indexes (FTS5) that ``auto`` leaves out are made again by a restore. An image is used as it lies, so there it
    keeps them. ``rebuild`` makes them anew in the copy, whole and compact, which takes most of a minute for a GB.
    """

    name: ClassVar[str] = "sqlite"
    takes: ClassVar[tuple[type, ...]] = (Home,)
    gives: ClassVar[type] = Home

    deadline: Duration = Field(default=timedelta(minutes=30))
    """How long one database may take."""
    search_indexes: Literal["auto", "keep", "rebuild"] = "auto"
    """What becomes of search indexes that are proven to be made of other tables: left out, kept, or made anew."""

    def plan(self, context: Context) -> tuple[str, ...]:
        """Say what is done; which databases there are is seen when the home is read."""
        del context
        return (f"copy every SQLite file consistently, {_PLANS[self.search_indexes]}, then check the copy",)

    def run(self, value: Any, context: Context) -> Home:
        """Copy the databases into the run's private folder."""
        home: Home = value
        staged = context.folder / "home"
        staged.mkdir(mode=0o700)
        found = find(home.root, select(home.root, home.rules))
        copies = _Copies(home, context, self.deadline.total_seconds(), found, _COPIES[self.search_indexes])
        for holder in split_brain(*(home.root / os.fsdecode(one.name) for one in found)):
            copies.split(holder)
        for one in found:
            copies.take(one)
        return copies.result()


class _Copies:
    """The copies under way: what is staged, what is broken."""

    def __init__(
        self, home: Home, context: Context, deadline: float, found: tuple[Found, ...], making: Callable[..., Copied]
    ) -> None:
        self._home = home
        self._context = context
        self._deadline = deadline
        self._copy = making
        self._staged = context.folder / "home"
        self._sizes = {it.name: _size(home, it.name) for it in found}
        self._done = 0
        self._copied: list[Copied] = []
        self._replaced: set[bytes] = set()
        self._as_they_lie: set[bytes] = set()
        self._partial: list[Partial] = []

    def take(self, found: Found) -> None:
        """Copy one database, or note why it is archived as it lies."""
        shown = printable(found.name)
        if found.kind != "live":
            words = {
                "orphan-wal": "the database is gone, only its log is left; archived as it lies",
                "damaged": "it does not start as a database; archived as it lies",
                "empty": "the database has no bytes",
            }
            self._broken(found.name, words[found.kind])
            return
        source = self._home.root / os.fsdecode(found.name)
        if found.journal == "rollback":
            self._context.listener.note("sqlite", f"{shown} keeps a rollback journal: its writers wait meanwhile")
        target = self._staged / os.fsdecode(found.name)
        try:
            copied = self._copy(source, target, deadline=self._deadline, progress=self._progress, name=shown)
        except DatabaseBroken as error:
            self._broken(found.name, f"{error.reason}; archived as it lies")
        else:
            self._tell(shown, copied)
            self._copied.append(copied)
            self._replaced.add(found.name)
        self._done += self._sizes[found.name]

    def _tell(self, shown: str, copied: Copied) -> None:
        note = self._context.listener.note
        for table in copied.facts.unchecked:
            note("sqlite", f"{shown}: table {table} needs an extension to be looked into")
        for it in copied.left_out:
            note("sqlite", f"{shown}: {it.table} is left out, and made again by a restore")
        for kept in copied.kept:
            note("sqlite", f"{shown}: {kept.table} is kept: {kept.reason}")
        for table in copied.renewed:
            note("sqlite", f"{shown}: {table} is made anew")
        for table in copied.damaged:
            what = f"{shown}: search in {table} does not answer as it should: its index is damaged, and not in the copy"
            self._context.listener.warn("sqlite", what)
        if copied.whole:
            note("sqlite", f"{shown} is copied whole: {copied.whole}")

    def split(self, holder: Holder) -> None:
        """Note that a process writes to a log that was deleted under it: what it wrote there is in no copy."""
        name = holder.file
        why = f"process {holder.pid} ({holder.command}) writes to a log that was deleted: split-brain, restart it"
        self._partial.append(Partial(name, why))
        self._context.listener.warn("sqlite", f"{name}: {why}")

    def result(self) -> Home:
        """The home with its databases replaced by their copies."""
        return replace(
            self._home,
            staged=self._staged,
            replaced=frozenset(self._replaced),
            as_they_lie=frozenset(self._as_they_lie),
            databases=tuple(it.facts for it in self._copied),
            lean=tuple(it for it in self._copied if it.left_out),
            partial=(*self._home.partial, *self._partial),
        )

    def _broken(self, name: bytes, why: str) -> None:
        self._partial.append(Partial(printable(name), why))
        self._context.listener.warn("sqlite", f"{printable(name)}: {why}")
        for side in (b"", b"-wal", b"-journal"):
            if os.path.lexists(os.path.join(os.fsencode(self._home.root), name + side)):  # noqa: PTH118 - bytes
                self._as_they_lie.add(name + side)

    def _progress(self, done: int, total: int) -> None:
        del total
        self._context.listener.progress("sqlite", self._done + done, sum(self._sizes.values()))


def _copy_whole(
    source: Path, target: Path, *, deadline: float, progress: Progress = no_progress, name: str = ""
) -> Copied:
    return Copied(copy(source, target, deadline=deadline, progress=progress, name=name), {})


_COPIES = {"auto": copy_lean, "keep": _copy_whole, "rebuild": copy_renewed}
_PLANS = {
    "auto": "without search indexes that can be made again",
    "keep": "with its search indexes as they are",
    "rebuild": "with its search indexes made anew",
}


def _size(home: Home, name: bytes) -> int:
    try:
        return os.lstat(os.path.join(os.fsencode(home.root), name)).st_size  # noqa: PTH118 - bytes
    except OSError:
        return 0
