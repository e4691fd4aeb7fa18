"""Two connections to one database that see it at one moment, so that two threads can read it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from hermes_backup.home.databases.access import look

if TYPE_CHECKING:
    import sqlite3

    from hermes_backup.home.databases.access import Access

_TRIES = 5


def begin_together(one: Access, other: Access) -> bool:
    """Begin a read transaction on both; say whether they see the same. Where they do not, only the first has begun.

    ``data_version`` of one connection changes with every commit of another
    (https://sqlite.org/pragma.html#pragma_data_version): where it is the same before the first and after the second has
    begun, nothing was committed between.

    Raises:
        sqlite3.Error: it cannot be read.
        DatabaseBroken: something else was opened than what lies there.
    """
    with one.rights(), other.rights():
        return _begun(one.connection, other.connection)


def _begun(first: sqlite3.Connection, second: sqlite3.Connection) -> bool:
    for _ in range(_TRIES):
        before = _version(second)
        _begin(first)
        _begin(second)
        if _version(second) == before:
            return True
        second.execute("ROLLBACK")
        first.execute("ROLLBACK")
    _begin(first)
    return False


def _begin(connection: sqlite3.Connection) -> None:
    connection.execute("BEGIN")
    look(connection)


def _version(connection: sqlite3.Connection) -> int:
    return int(connection.execute("PRAGMA main.data_version").fetchone()[0])
