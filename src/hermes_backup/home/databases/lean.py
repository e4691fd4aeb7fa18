"""Copies of databases that are checked on their own, and such as lack what is proven to be made of other tables.

A copy is made while the home's file is read, and checked after that: by another thread, if need be, while an archive is
made of it. That a lean copy holds the same is read off both. Whatever stands in the way of that, all is copied.
"""

from __future__ import annotations

import contextlib
import sqlite3
import time
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

from hermes_backup.home.databases.contents import Content, read_contents
from hermes_backup.home.databases.copying import Progress, discard, making, mindful, no_progress, take
from hermes_backup.home.databases.derived import Kept, LeftOut
from hermes_backup.home.databases.facts import DatabaseBroken, DatabaseFacts, broken, facts, limited, reading
from hermes_backup.home.databases.filling import NotLean
from hermes_backup.home.databases.schema import read_schema
from hermes_backup.home.databases.searching import Search
from hermes_backup.home.databases.taken import Taken, take_out

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from pathlib import Path

_OURS = ("interrupted", "locked", "disk is full", "readonly database", "unable to open database file")


@dataclass(frozen=True)
class Copied:
    """A copy that was made and checked.

    Attributes:
        facts: what the copy itself is.
        contents: of every table of a lean copy, what it holds; empty where nothing is left out.
        left_out: the full-text tables that are not in it.
        kept: the full-text tables that are, and why.
        searches: what some searches found in the tables that are left out.
        whole: why all was copied at once; empty where it was not.
        renewed: the full-text tables that were made anew in it.
        damaged: those of the full-text tables left out, or made anew, that do not answer at home as they should.
    """

    facts: DatabaseFacts
    contents: Mapping[str, Content]
    left_out: tuple[LeftOut, ...] = ()
    kept: tuple[Kept, ...] = ()
    searches: tuple[Search, ...] = ()
    whole: str = ""
    renewed: tuple[str, ...] = ()
    damaged: tuple[str, ...] = ()


def look_at_nothing() -> None:
    """Let a check go on."""


@dataclass(frozen=True)
class Made:
    """A copy that has all its bytes, dressed as the original, and how it is checked.

    ``check`` opens nothing but the copy, so another thread may call it, and takes a function that it calls now and
    then, whose exceptions end it. It raises NotLean or DatabaseBroken where the copy does not hold what it should.
    """

    check: Callable[[Callable[[], None]], Copied]


def begin_whole(
    source: Path,
    target: Path,
    *,
    deadline: float,
    progress: Progress = no_progress,
    name: str = "",
    why: NotLean | None = None,
) -> Made:
    """Copy all of a database to a file that is not there yet, as ``copy`` does, and leave its check to others.

    ``why`` says why it is no lean copy that was wanted.

    Raises:
        DatabaseBroken: the database is missing, empty, damaged, locked, or not copied in time.
        Fault: DISK_FULL when the target's file system has no room.
    """
    end = time.monotonic() + deadline
    with making(source, target):
        take(source, target, end, mindful(progress, end))
    return Made(partial(_checked, target, name, end - time.monotonic(), why or NotLean("")))


def begin_lean(
    source: Path, target: Path, *, deadline: float, progress: Progress = no_progress, name: str = ""
) -> Made:
    """Copy a database without the full-text tables that can be made again, and leave the check to others.

    Raises:
        DatabaseBroken: the database is missing, empty, damaged, locked, or not copied in time.
        Fault: DISK_FULL when the target's file system has no room.
    """
    end = time.monotonic() + deadline
    try:
        with making(source, target):
            taken = _taken(source, target, end, mindful(progress, end))
    except NotLean as why:
        not_lean = why
    else:
        return Made(partial(_proven, target, taken, name, end - time.monotonic()))
    left = end - time.monotonic()
    return begin_whole(source, target, deadline=left, progress=progress, name=name, why=not_lean)


def copy_whole(
    source: Path, target: Path, why: NotLean, *, deadline: float, progress: Progress = no_progress, name: str = ""
) -> Copied:
    """Copy and check all of a database where a lean copy cannot be; on any failure nothing is left.

    Raises:
        DatabaseBroken: the database is missing, empty, damaged, locked, or not copied in time.
        Fault: DISK_FULL when the target's file system has no room.
    """
    made = begin_whole(source, target, deadline=deadline, progress=progress, name=name, why=why)
    try:
        return made.check(look_at_nothing)
    except BaseException:
        discard(target)
        raise


def lean(source: Path, target: Path, end: float, progress: Progress, name: str) -> Copied:
    """Make a lean copy and prove it; whoever calls dresses it, or cleans up.

    Raises:
        NotLean: it cannot be made, or nothing can be left out.
    """
    taken = _taken(source, target, end, progress)
    return _proven(target, taken, name, end - time.monotonic(), look_at_nothing)


def _taken(source: Path, target: Path, end: float, progress: Progress) -> Taken:
    try:
        return take_out(source, target, end, progress)
    except sqlite3.Error as error:
        if any(it in str(error) for it in _OURS):
            raise
        raise NotLean(f"SQLite says: {error}") from error


def _checked(target: Path, name: str, deadline: float, why: NotLean, look: Callable[[], None]) -> Copied:
    with _reading_back():
        return Copied(facts(target, name=name, deadline=deadline, look=look), {}, kept=why.kept, whole=str(why))


def _proven(target: Path, taken: Taken, name: str, deadline: float, look: Callable[[], None]) -> Copied:
    """Check a lean copy, and that it holds what was taken out of the original."""
    end = time.monotonic() + deadline
    with _reading_back():
        found = facts(target, name=name, deadline=deadline, look=look)
        with reading(target, alone=True) as connection, limited(connection, end, look):
            there = read_schema(connection)
            if [it[:3] + it[4:] for it in there] != [it[:3] + it[4:] for it in taken.schema]:
                raise NotLean("its schema did not come over", taken.kept)
            contents = read_contents(connection, there)
    differing = sorted(it for it in contents if contents[it] != taken.contents.get(it))
    if differing or len(contents) != len(taken.contents):
        raise NotLean(f"table {differing[0] if differing else '?'} did not come over as it is", taken.kept)
    return Copied(found, contents, taken.left_out, taken.kept, taken.searches, damaged=taken.damaged)


@contextlib.contextmanager
def _reading_back() -> Iterator[None]:
    try:
        yield
    except sqlite3.Error as error:
        raise broken(error) from error
    except InterruptedError:  # by who looks, not by the file
        raise
    except OSError as error:
        raise DatabaseBroken(f"its copy cannot be read: {error.strerror}") from error
