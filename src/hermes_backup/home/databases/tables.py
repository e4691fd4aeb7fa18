"""How a table's rows are read and written whole: its stored columns, and the name that its row ids go by."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from hermes_backup.home.databases.facts import quoted
from hermes_backup.home.databases.sql_text import folded

if TYPE_CHECKING:
    import sqlite3

_ROW_IDS = ("rowid", "_rowid_", "oid")


@dataclass(frozen=True)
class Table:
    """A real table.

    Attributes:
        columns: those that can be written to; a generated one cannot.
        generated: whether there are others.
        row_ids: the names that its row ids go by; none where it has none, or columns took them all.
        primary: the column that is the row id; None where no column shows it.
        has_rowids: it is not made WITHOUT ROWID.
        indexed: it has an index, be it for a constraint.
    """

    name: str
    columns: tuple[str, ...]
    generated: bool
    row_ids: tuple[str, ...]
    primary: str | None
    has_rowids: bool
    indexed: bool

    @property
    def hidden_id(self) -> str | None:
        """What its row ids are asked for by where no column shows them."""
        return self.row_ids[0] if self.primary is None and self.row_ids else None

    def is_row_id(self, name: str) -> bool:
        """Tell whether a name is that of its row ids."""
        return folded(name) in map(folded, self.row_ids)


def read_table(connection: sqlite3.Connection, name: str, schema: str = "main") -> Table:
    """Read how a table is made."""
    shown = quoted(name)
    rows = connection.execute(f"PRAGMA {schema}.table_xinfo({shown})").fetchall()
    names = {folded(str(row[1])) for row in rows}
    # an index cannot have a table's name: asked for one, SQLite tells of a table WITHOUT ROWID how its key is made
    has_rowids = not connection.execute(f"PRAGMA {schema}.index_info({shown})").fetchall()
    indexes = connection.execute(f"PRAGMA {schema}.index_list({shown})").fetchall()
    keys = [str(row[1]) for row in rows if row[5]]
    is_primary = has_rowids and len(keys) == 1 and not any(row[3] == "pk" for row in indexes)
    free = tuple(it for it in _ROW_IDS if it not in names) if has_rowids else ()
    return Table(
        name=name,
        columns=tuple(str(row[1]) for row in rows if row[6] == 0),
        generated=any(row[6] in (2, 3) for row in rows),
        row_ids=(keys[0], *free) if is_primary else free,
        primary=keys[0] if is_primary else None,
        has_rowids=has_rowids,
        indexed=bool(indexes),
    )
