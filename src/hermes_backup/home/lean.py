"""A copy of a database without the search indexes that are proven to be made of its other tables.

The home's file is the connection's main database, opened to be read, so that its views and triggers mean what they
mean at home; the copy is attached, and filled table by table in the same transaction. Only what is kept is read.
That both hold the same is then read off both. Whatever stands in the way of that, all of the database is copied.
"""

from __future__ import annotations

import contextlib
import os
import sqlite3
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from hermes_backup.home.contents import Content, content
from hermes_backup.home.copying import (
    Progress,
    cannot_prepare,
    discard,
    has_readers,
    is_wal,
    making,
    mindful,
    no_progress,
    take,
)
from hermes_backup.home.derived import Kept, LeftOut, derived
from hermes_backup.home.facts import DatabaseFacts, beside, facts, limited, reading
from hermes_backup.home.filling import NotLean, attach, fill, finish
from hermes_backup.home.schema import Entry, read_schema
from hermes_backup.home.searching import Search, sample
from hermes_backup.home.still import Moved, copy_still, unmoved
from hermes_backup.home.tables import read_table

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

_OURS = ("interrupted", "locked", "disk is full", "readonly database", "unable to open database file")
_PART_OF_MEMORY = 4
_STEP_BYTES = 16 << 20


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


@dataclass(frozen=True)
class _Taken:
    """What was taken out of the original, in its transaction."""

    schema: tuple[Entry, ...]
    contents: Mapping[str, Content]
    left_out: tuple[LeftOut, ...]
    kept: tuple[Kept, ...]
    searches: tuple[Search, ...]
    damaged: tuple[str, ...]


def copy_lean(
    source: Path, target: Path, *, deadline: float, progress: Progress = no_progress, name: str = ""
) -> Copied:
    """Copy a database as ``copy`` does, but leave out the full-text tables that can be made again.

    Raises:
        DatabaseBroken: the database is missing, empty, damaged, locked, or not copied in time.
        Fault: DISK_FULL when the target's file system has no room.
    """
    end = time.monotonic() + deadline
    told = mindful(progress, end)
    with making(source, target):
        try:
            return lean(source, target, end, told, name)
        except NotLean as why:
            not_lean = why
        return whole(source, target, end, told, name, not_lean)


def whole(source: Path, target: Path, end: float, progress: Progress, name: str, why: NotLean) -> Copied:
    """Copy all of a database, in place of what there is of a lean copy; whoever calls cleans up."""
    discard(target)
    take(source, target, end, progress)
    return Copied(facts(target, name=name, deadline=end - time.monotonic()), {}, kept=why.kept, whole=str(why))


def lean(source: Path, target: Path, end: float, progress: Progress, name: str) -> Copied:
    """Make a lean copy and prove it; whoever calls cleans up.

    Raises:
        NotLean: it cannot be made, or nothing can be left out.
    """
    try:
        taken = _taken(source, target, end, progress)
    except sqlite3.Error as error:
        if any(it in str(error) for it in _OURS):
            raise
        raise NotLean(f"SQLite says: {error}") from error
    found = facts(target, name=name, deadline=end - time.monotonic())
    with reading(target, alone=True) as connection, limited(connection, end):
        there = read_schema(connection)
        if [it[:3] + it[4:] for it in there] != [it[:3] + it[4:] for it in taken.schema]:
            raise NotLean("its schema did not come over", taken.kept)
        contents = read_contents(connection, there)
    differing = sorted(it for it in contents if contents[it] != taken.contents.get(it))
    if differing or len(contents) != len(taken.contents):
        raise NotLean(f"table {differing[0] if differing else '?'} did not come over as it is", taken.kept)
    return Copied(found, contents, taken.left_out, taken.kept, taken.searches, damaged=taken.damaged)


def read_contents(connection: sqlite3.Connection, schema: Sequence[Entry]) -> Mapping[str, Content]:
    """Hash every real table of the connection's main database."""
    return {it.name: content(connection, read_table(connection, it.name)) for it in schema if it.is_real_table}


def _taken(source: Path, target: Path, end: float, progress: Progress) -> _Taken:
    """Read the database by the way that its holders allow, as ``take`` does."""
    _fetch(source, progress)
    logged = is_wal(source)  # asked now: closing a file that SQLite has open would drop its locks
    if not has_readers(source) and not _has_log(source):
        with contextlib.suppress(Moved), unmoved(source):
            return _filled(source, target, end, progress, alone=True, logged=logged)
        discard(target)
    if has_readers(source):
        try:
            return _filled(source, target, end, progress, alone=False, logged=logged)
        except sqlite3.OperationalError as error:
            if not cannot_prepare(error):
                raise
        discard(target)
    with tempfile.TemporaryDirectory(prefix=".hb-whole-", dir=target.parent) as folder:
        whole = Path(folder) / "whole"
        try:
            copy_still(source, whole, progress)
        except Moved as error:
            raise NotLean("it is in use, and SQLite may not write beside it") from error
        return _filled(whole, target, end, progress, alone=True, logged=logged)


def _fetch(source: Path, progress: Progress) -> None:
    """Read the file once from one end to the other, where the memory holds it: a hint to the kernel is not enough.

    Its tables lie in pieces between those of the index. Read piece by piece from a disk, a copy takes twice the time.
    """
    total = source.stat().st_size
    if total > os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") // _PART_OF_MEMORY:
        return
    buffer = bytearray(_STEP_BYTES)
    with source.open("rb", buffering=0) as file:
        while file.readinto(buffer):
            progress(0, total)


def _has_log(source: Path) -> bool:
    with contextlib.suppress(FileNotFoundError):
        return bool(beside(source, "-wal").stat().st_size)
    return False


def _filled(source: Path, target: Path, end: float, progress: Progress, *, alone: bool, logged: bool) -> _Taken:
    """Fill the copy in one read transaction of the original."""
    total = source.stat().st_size
    with reading(source, alone=alone) as connection, limited(connection, end, _look(target, total, progress)):
        attach(connection, target)
        connection.execute("BEGIN")
        schema = read_schema(connection)
        judged = derived(connection, schema)
        kept = tuple(it for it in judged if isinstance(it, Kept))
        left_out = tuple(it for it in judged if isinstance(it, LeftOut))
        if not left_out:
            raise NotLean("", kept)
        wanted = without(schema, left_out)
        fill(connection, wanted)
        contents = read_contents(connection, wanted)
        searches, damaged = _searched(connection, left_out)
        connection.execute("COMMIT")
        finish(connection, logged=logged)
    progress(total, total)
    return _Taken(wanted, contents, left_out, kept, searches, damaged)


def _searched(
    connection: sqlite3.Connection, left_out: Sequence[LeftOut]
) -> tuple[tuple[Search, ...], tuple[str, ...]]:
    """Search what is left out; the last are the tables in which nothing can be searched, for they are damaged."""
    searches: list[Search] = []
    damaged: list[str] = []
    for it in left_out:
        try:
            searches += list(sample(connection, it))
        except sqlite3.OperationalError:
            raise
        except sqlite3.DatabaseError:
            damaged.append(it.table)
    return tuple(searches), tuple(damaged)


def without(schema: Sequence[Entry], left_out: Sequence[LeftOut]) -> tuple[Entry, ...]:
    """Return a schema without some full-text tables, the tables that belong to them, and their triggers."""
    tables = {name for it in left_out for name in (it.table, *it.shadows)}
    triggers = {name for it in left_out for name in it.trigger_names}
    return tuple(it for it in schema if it.table not in tables and not (it.kind == "trigger" and it.name in triggers))


def _look(target: Path, total: int, progress: Progress) -> Callable[[], None]:
    def look() -> None:
        progress(min(os.stat(target).st_size, total), total)  # noqa: PTH116 - called a thousand times a second

    return look
