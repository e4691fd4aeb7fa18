"""The schema of a database, row by row, as SQLite keeps it."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from hermes_backup.home.databases.sql_text import folded, tokens

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Iterable


class Entry(NamedTuple):
    """A row of ``sqlite_master``: a table, index, view or trigger; its table; where it begins; its SQL."""

    kind: str
    name: str
    table: str
    root: int
    sql: str | None

    @property
    def is_real_table(self) -> bool:
        """It is a table with rows of its own."""
        return self.kind == "table" and bool(self.root)

    @property
    def is_virtual(self) -> bool:
        """It is a table that a module gives the rows of."""
        return self.kind == "table" and not self.root


def read_schema(connection: sqlite3.Connection, schema: str = "main") -> tuple[Entry, ...]:
    """Read a schema in the order in which it lies there."""
    query = f"SELECT type, name, tbl_name, rootpage, sql FROM {schema}.sqlite_master ORDER BY rowid"  # noqa: S608 - ours
    rows = connection.execute(query).fetchall()
    return tuple(Entry(kind, name, table, int(root or 0), sql) for kind, name, table, root, sql in rows)


def mentions(sql: str | None, names: Iterable[str]) -> bool:
    """Tell whether a text of SQL names one of these, be it in a string; one that is not understood may."""
    found = tokens(sql or "")
    wanted = {folded(it) for it in names}
    return found is None or any(it.kind not in ("sign", "number") and folded(it.name) in wanted for it in found)
