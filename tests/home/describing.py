"""All that can be asked of a database, so that two can be compared."""

from __future__ import annotations

import contextlib
import sqlite3
from collections.abc import Sequence
from pathlib import Path

from hermes_backup.home.databases.derived import LeftOut
from hermes_backup.home.databases.facts import quoted, reading

_SETTINGS = ("encoding", "page_size", "auto_vacuum", "user_version", "application_id")


def described(path: Path, *, without: Sequence[LeftOut] = ()) -> dict[str, object]:
    """Describe settings, schema in its order, and every row of every real table with its row id and types."""
    gone = {name for it in without for name in (it.table, *it.shadows)}
    triggers = {name for it in without for name in it.trigger_names}
    with reading(path) as connection:
        connection.text_factory = bytes
        known: dict[str, object] = {it: connection.execute(f"PRAGMA {it}").fetchone() for it in _SETTINGS}
        query = "SELECT type, name, tbl_name, sql, rootpage > 0 FROM sqlite_master ORDER BY rowid"
        rows = [
            row for row in connection.execute(query) if row[2].decode() not in gone and row[1].decode() not in triggers
        ]
        known["schema"] = rows
        for kind, name, _, _, real in rows:
            if kind == b"table" and real:
                known[name.decode()] = _rows(connection, name.decode())
        return known


def _rows(connection: sqlite3.Connection, table: str) -> list[tuple[object, ...]]:
    columns = [row[1].decode() for row in connection.execute(f"PRAGMA table_xinfo({quoted(table)})")]
    told = [f"{function}({quoted(it)})" for it in columns for function in ("typeof", "hex", "quote")]
    for name in ("rowid", "_rowid_", "oid"):
        with contextlib.suppress(sqlite3.OperationalError):
            if name not in {it.lower() for it in columns}:
                return connection.execute(f"SELECT {name}, {', '.join(told)} FROM {quoted(table)}").fetchall()
    return connection.execute(f"SELECT {', '.join(told)} FROM {quoted(table)}").fetchall()
