"""A full-text index filled first, and merged once: not again and again while it is filled.

FTS5 merges its segments as it goes, for whoever searches meanwhile; nobody searches here. The indexes of a database of
1 GB are made in 68 s so, and in 51 s where each is merged at its end (measured). One segment is also what leaves
Hermes nothing to merge when it writes its next message.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from hermes_backup.home.databases.facts import quoted
from hermes_backup.home.databases.fulltext import command

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Callable, Sequence

_MEANWHILE = {"automerge": 0, "crisismerge": 64}  # how many segments of a level are merged: a page of each is in memory
_STEPS = 10  # of merging; at the start of each FTS5 looks for its place in every segment


def put_off(connection: sqlite3.Connection, table: str) -> None:
    """Let FTS5 merge hardly anything of a table from now on."""
    for name, value in _MEANWHILE.items():
        connection.execute(command(table, name, value))


def merge(connection: sqlite3.Connection, table: str, told: Callable[[int, int], None]) -> None:
    """Merge all segments to one; ``told`` is called with pages done and pages in all, and what it raises ends it."""
    (pages,) = connection.execute(f"SELECT count(*) FROM {quoted(f'{table}_data')}").fetchone()  # noqa: S608 - quoted
    at_once = 1 + pages // _STEPS
    done = 0
    more = _merged(connection, table, -at_once)
    while more:
        done += at_once
        told(min(done, pages), pages)
        more = _merged(connection, table, at_once)


def as_declared(connection: sqlite3.Connection, table: str, settings: Sequence[str]) -> None:
    """Let FTS5 merge as it did where the table is from: as its settings say, else as it does by itself."""
    names = ", ".join(f"'{it}'" for it in _MEANWHILE)
    connection.execute(f"DELETE FROM {quoted(f'{table}_config')} WHERE k IN ({names})")  # noqa: S608 - quoted
    for statement in settings:
        connection.execute(statement)


def _merged(connection: sqlite3.Connection, table: str, pages: int) -> bool:
    """Merge so many pages, of all segments where negative; say whether there were any (FTS5, "The merge Command")."""
    before = connection.total_changes
    connection.execute(command(table, "merge", pages))
    return connection.total_changes - before > 1
