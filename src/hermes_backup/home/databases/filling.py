"""Filling a new database with the tables of another, which is the main one of the same connection.

Tables and their indexes are made by their own statements, and filled by SQLite's own way from table to table, which
takes records as they are. All else is written into the new schema as it stands in the old one, as VACUUM does it.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from hermes_backup.home.databases.facts import address, quoted
from hermes_backup.home.databases.schema import Entry, read_schema
from hermes_backup.home.databases.tables import Table, read_table

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Sequence
    from pathlib import Path

    from hermes_backup.home.databases.derived import Kept

_BEGINNINGS = ("CREATE TABLE ", "CREATE INDEX ", "CREATE UNIQUE INDEX ")
_SEQUENCE = "sqlite_sequence"


class NotLean(Exception):  # noqa: N818 - it tells a state
    """A database is copied whole; says why, unless it simply has nothing that could be left out."""

    def __init__(self, reason: str, kept: tuple[Kept, ...] = ()) -> None:
        super().__init__(reason)
        self.kept = kept


def attach(connection: sqlite3.Connection, target: Path) -> None:
    """Make an empty database like the main one, and attach it as ``copied``, without syncing or journal."""
    os.close(os.open(target, os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_CLOEXEC, 0o600))
    connection.execute("ATTACH ? AS copied", (address(target, "rw"),))
    for setting in ("locking_mode=EXCLUSIVE", "journal_mode=OFF", "synchronous=OFF"):
        connection.execute(f"PRAGMA copied.{setting}")
    for setting in ("page_size", "auto_vacuum"):
        connection.execute(f"PRAGMA copied.{setting}={_asked(connection, setting)}")
    for setting in ("foreign_keys=OFF", "ignore_check_constraints=ON", "writable_schema=ON", "trusted_schema=OFF"):
        connection.execute(f"PRAGMA {setting}")


def fill(connection: sqlite3.Connection, wanted: Sequence[Entry]) -> None:
    """Fill the attached database, which is then as the main one, but for what is not wanted.

    Raises:
        NotLean: it cannot be filled.
        sqlite3.Error: why not.
    """
    for setting in ("user_version", "application_id"):
        connection.execute(f"PRAGMA copied.{setting}={_asked(connection, setting)}")
    _create(connection, wanted)
    for entry in wanted:
        if entry.is_real_table and entry.name != _SEQUENCE:
            connection.execute(_insertion(connection, read_table(connection, entry.name)))
    if any(it.name == _SEQUENCE for it in wanted):  # the last one: every insertion above counts in it
        connection.execute("DELETE FROM copied.sqlite_sequence")
        connection.execute(_insertion(connection, read_table(connection, _SEQUENCE)))
    _write_schema(connection, wanted)


def finish(connection: sqlite3.Connection, *, logged: bool) -> None:
    """Give the file its way of writing back, once all is committed; the connection is of no other use then."""
    connection.execute("PRAGMA writable_schema=OFF")
    if logged:
        connection.execute("PRAGMA copied.journal_mode=WAL")
    connection.execute("DETACH copied")


def _asked(connection: sqlite3.Connection, setting: str) -> int:
    return int(connection.execute(f"PRAGMA main.{setting}").fetchone()[0])


def _create(connection: sqlite3.Connection, wanted: Sequence[Entry]) -> None:
    """Make tables and indexes; those without SQL come with their tables."""
    for entry in wanted:
        if not entry.root or entry.sql is None:
            continue
        beginning = next((it for it in _BEGINNINGS if entry.sql.startswith(it)), None)
        if beginning is None:
            raise NotLean(f"how {entry.name} was made is not understood")
        if entry.name != _SEQUENCE or _SEQUENCE not in (it.name for it in read_schema(connection, "copied")):
            connection.execute(f"{beginning}copied.{entry.sql.removeprefix(beginning)}")


def _insertion(connection: sqlite3.Connection, table: Table) -> str:
    """Write the statement that copies a table; row ids stay, for full-text tables and references go by them."""
    name = quoted(table.name)
    everything = f"INSERT INTO copied.{name} SELECT * FROM main.{name}"  # noqa: S608 - quoted
    if not table.generated and (table.hidden_id is None or (table.indexed and _takes_records(connection, everything))):
        return everything
    columns = ", ".join([*([table.hidden_id] if table.hidden_id else []), *map(quoted, table.columns)])
    return f"INSERT INTO copied.{name} ({columns}) SELECT {columns} FROM main.{name}"  # noqa: S608 - quoted


def _takes_records(connection: sqlite3.Connection, statement: str) -> bool:
    """Tell whether SQLite would take records as they are, which keeps row ids and the order of indexes.

    Not where it knows tables for alike only by their checks; and it gives new row ids where there is no index.
    """
    return any(row[1] == "RowData" for row in connection.execute(f"EXPLAIN {statement}"))


def _write_schema(connection: sqlite3.Connection, wanted: Sequence[Entry]) -> None:
    """Write the whole schema in the order of the old one, with the places of the new."""
    roots = {it[:2]: it.root for it in read_schema(connection, "copied")}
    if roots.keys() != {it[:2] for it in wanted if it.root}:
        raise NotLean("its tables and indexes were not made alike")
    connection.execute("DELETE FROM copied.sqlite_master")
    connection.executemany(
        "INSERT INTO copied.sqlite_master (type, name, tbl_name, rootpage, sql) VALUES (?, ?, ?, ?, ?)",
        [it._replace(root=roots.get(it[:2], 0)) for it in wanted],
    )
