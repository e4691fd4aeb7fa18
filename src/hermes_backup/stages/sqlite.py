"""Stage ``sqlite``: a consistent copy of every SQLite file of the home."""

from __future__ import annotations

import os
from datetime import timedelta
from typing import Any, ClassVar, Literal

from pydantic import Field

from hermes_backup.home.databases.finding import find
from hermes_backup.home.databases.holders import split_brain
from hermes_backup.home.databases.lean import begin_lean, begin_whole
from hermes_backup.home.databases.renewing import begin_renewed
from hermes_backup.home.selection import select
from hermes_backup.stages.context import Context
from hermes_backup.stages.copies import Copies, Copying
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
        """Copy the databases into the run's private folder; their checks go on while an archive is made of them."""
        home: Home = value
        staged = context.folder / "home"
        staged.mkdir(mode=0o700)
        found = find(home.root, select(home.root, home.rules))
        copies = Copies(home, context, self.deadline.total_seconds(), found, _COPYING[self.search_indexes])
        for holder in split_brain(*(home.root.shown / os.fsdecode(one.name) for one in found)):
            copies.split(holder)
        for one in found:
            copies.take(one)
        return copies.home()


_COPYING: dict[str, Copying] = {"auto": begin_lean, "keep": begin_whole, "rebuild": begin_renewed}
_PLANS = {
    "auto": "without search indexes that can be made again",
    "keep": "with its search indexes as they are",
    "rebuild": "with its search indexes made anew",
}
