"""A copy of a database whose search indexes are made anew: whole and compact, whatever the original's are like.

It is a lean copy first, proven as such. What that left out is then made in it, from the tables that it kept.
"""

from __future__ import annotations

import sqlite3
import time
from typing import TYPE_CHECKING

from hermes_backup.home.databases.copying import Progress, making, mindful, no_progress
from hermes_backup.home.databases.facts import DatabaseBroken, broken, facts, limited, reading
from hermes_backup.home.databases.filling import NotLean
from hermes_backup.home.databases.lean import Copied, Made, copy_whole, lean
from hermes_backup.home.databases.rebuilding import rebuild
from hermes_backup.home.databases.searching import answered_otherwise

if TYPE_CHECKING:
    from pathlib import Path

_COPYING = 0.1  # of the time; the rest is FTS5's (measured)


def begin_renewed(
    source: Path, target: Path, *, deadline: float, progress: Progress = no_progress, name: str = ""
) -> Made:
    """Copy a database as :func:`copy_renewed` does, which checks the copy before it makes indexes in it.

    Raises:
        DatabaseBroken, Fault: as there.
    """
    copied = copy_renewed(source, target, deadline=deadline, progress=progress, name=name)
    return Made(lambda _look: copied)


def copy_renewed(
    source: Path, target: Path, *, deadline: float, progress: Progress = no_progress, name: str = ""
) -> Copied:
    """Make a lean copy, and what it leaves out anew in it: nothing is missing there.

    Where that cannot be done, or not by the deadline, all is copied as it is, for which there is as much time again.

    Raises:
        DatabaseBroken: the database is missing, empty, damaged, locked, or not copied in time.
        Fault: DISK_FULL when the target's file system has no room.
    """
    try:
        with making(source, target):
            end = time.monotonic() + deadline
            return _renewed(source, target, end, mindful(progress, end), name)
    except NotLean as why:
        not_lean = why
    return copy_whole(source, target, not_lean, deadline=deadline, progress=progress, name=name)


def _renewed(source: Path, target: Path, end: float, progress: Progress, name: str) -> Copied:
    """Make the lean copy, and its indexes in it.

    Raises:
        NotLean: it cannot be made, nothing can be left out, or what was cannot be made anew.
    """
    size = source.lstat().st_size

    def copying(done: int, total: int) -> None:
        progress(int(done * _COPYING), total)

    def renewing(done: int, total: int) -> None:
        progress(int(size * (_COPYING + (1 - _COPYING) * done / max(1, total))), size)

    made = lean(source, target, end, copying, name)
    try:
        rebuild(target, made.left_out, deadline=end - time.monotonic(), progress=renewing)
        found = facts(target, name=name, deadline=end - time.monotonic())
        with reading(target, alone=True) as connection, limited(connection, end):
            otherwise = answered_otherwise(connection, made.searches)
    except (DatabaseBroken, sqlite3.Error) as error:
        why = error if isinstance(error, DatabaseBroken) else broken(error)
        raise NotLean(f"its search indexes cannot be made anew: {why.reason}", made.kept) from error
    return Copied(
        found,
        {},
        kept=made.kept,
        renewed=tuple(it.table for it in made.left_out),
        damaged=tuple(dict.fromkeys([*made.damaged, *(it.table for it in otherwise)])),
    )
