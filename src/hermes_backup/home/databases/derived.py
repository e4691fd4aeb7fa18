"""Which full-text tables can be left out of a copy, because what they hold can be made again: proven, row by row.

What triggers would insert for all rows of their table is compared with what the full-text table holds. One over the
rows of another table holds no text, so its row ids are compared: of which rows it knows. How these are to be indexed
its trigger says, too, and not FTS5's ``rebuild``: hermes-agent's trigger leaves the end of long answers out.
"""

from __future__ import annotations

import sqlite3
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from hermes_backup.home.databases.facts import quoted
from hermes_backup.home.databases.fulltext import FullText, command, full_text_tables, why_not_made
from hermes_backup.home.databases.schema import Entry, mentions
from hermes_backup.home.databases.sql_text import folded
from hermes_backup.home.databases.tables import read_table
from hermes_backup.home.databases.triggers import Insertion, Trigger, insertion

if TYPE_CHECKING:
    from collections.abc import Sequence

_ROW = '"hb_row"'
_OPTIONS = frozenset(("columnsize", "content", "content_rowid", "detail", "prefix", "tokenize"))
_SETTINGS = frozenset(
    ("automerge", "crisismerge", "deletemerge", "hashsize", "pgsz", "rank", "secure-delete", "usermerge")
)


@dataclass(frozen=True)
class LeftOut:
    """A full-text table that is left out, and how it is made again.

    Attributes:
        create: the statement that makes the table.
        settings: statements that set it up as it was.
        insert: the statement that fills it, without which rows are meant.
        condition: which rows are meant; empty for all.
        triggers: the statements that make its triggers.
        rows: how many rows it holds.
        shadows: its own real tables, which are left out with it.
    """

    table: str
    create: str
    settings: tuple[str, ...]
    insert: str
    condition: str
    triggers: tuple[str, ...]
    rows: int
    shadows: tuple[str, ...] = field(default=())
    trigger_names: tuple[str, ...] = field(default=())

    @property
    def fill(self) -> str:
        """The statement that fills it."""
        return f"{self.insert} WHERE {self.condition}" if self.condition else self.insert

    @property
    def statements(self) -> tuple[str, ...]:
        """All of it, in order: what a person would type."""
        return (self.create, *self.settings, self.fill, *self.triggers)


@dataclass(frozen=True)
class Kept:
    """A full-text table that is copied as it is, and why."""

    table: str
    reason: str


class _Unproven(Exception):  # noqa: N818 - it tells a state
    """It is not proven that a table can be made again."""


def derived(connection: sqlite3.Connection, schema: Sequence[Entry]) -> tuple[LeftOut | Kept, ...]:
    """Judge every full-text table of the connection's main database; in a transaction, all of it is of one moment."""
    virtual = frozenset(it.name for it in schema if it.is_virtual)
    return tuple(_judged(connection, it, schema, virtual) for it in full_text_tables(schema))


def _judged(
    connection: sqlite3.Connection, table: FullText, schema: Sequence[Entry], virtual: frozenset[str]
) -> LeftOut | Kept:
    try:
        return _proven(connection, table, schema, virtual)
    except _Unproven as why:
        return Kept(table.table, str(why))
    except (sqlite3.OperationalError, sqlite3.NotSupportedError) as error:
        if any(it in str(error) for it in ("interrupted", "locked")):
            raise
        return Kept(table.table, f"SQLite says: {error}")


def _proven(
    connection: sqlite3.Connection, table: FullText, schema: Sequence[Entry], virtual: frozenset[str]
) -> LeftOut:
    """Prove that a table can be made again.

    Raises:
        _Unproven: it is not proven.
    """
    triggers = _understood(table)
    if table.content == "":
        raise _Unproven("it has no content that could be indexed again")
    if why := why_not_made(table.sql):
        raise _Unproven(f"it cannot be made here: {why}")
    filling = _filling(table, triggers, schema, virtual)
    _require_pure(connection, filling, schema, virtual)
    rows = _require_same_rows(connection, table, filling)
    values = ", ".join(["rowid", *map(quoted, filling.values)])
    chosen = ", ".join([f"{_ROW}.{quoted(filling.rowid)}", *filling.values.values()])
    return LeftOut(
        table=table.table,
        create=table.sql,
        settings=_settings(connection, table),
        insert=f"INSERT INTO {quoted(table.table)} ({values}) SELECT {chosen}"  # noqa: S608 - read from the schema
        f" FROM {quoted(filling.source)} AS {_ROW}",
        condition=filling.condition,
        triggers=tuple(it.sql for it in triggers),
        rows=rows,
        shadows=table.shadows,
        trigger_names=tuple(it.name for it in triggers),
    )


def _understood(table: FullText) -> tuple[Trigger, ...]:
    if not table.clear:
        raise _Unproven("how it is made is not understood")
    if unknown := sorted(table.options.keys() - _OPTIONS):
        raise _Unproven(f"its option {unknown[0]} is not understood")
    triggers = [it for it in table.triggers if it is not None and it.writes_only(table.table)]
    if len(triggers) < len(table.triggers):
        raise _Unproven("a trigger that names it does more than to write to it, or is not understood")
    return tuple(triggers)


def _filling(
    table: FullText, triggers: Sequence[Trigger], schema: Sequence[Entry], virtual: frozenset[str]
) -> Insertion:
    """Return how it is filled: as its one trigger does, or where there is none, by the rows that it names itself."""
    inserting = [it for it in triggers if it.event == "INSERT"]
    if len(inserting) == 1:
        filling = insertion(inserting[0], table.table, _ROW)
        if filling is None:
            raise _Unproven("the trigger that fills it is not understood")
        known = {folded(it) for it in table.columns}
        if any(folded(it) not in known for it in filling.values):
            raise _Unproven("the trigger that fills it gives it orders, not rows")
        return filling
    if inserting or not table.content:
        raise _Unproven("more than one trigger fills it" if inserting else "no trigger fills it")
    source = _entry(schema, table.content)
    if source is None or source.name in virtual:
        raise _Unproven("its content is no table and no view")
    rowid = table.options.get("content_rowid", "rowid")
    return Insertion(source.name, rowid, {it: f"{_ROW}.{quoted(it)}" for it in table.columns}, "")


def _require_pure(
    connection: sqlite3.Connection, filling: Insertion, schema: Sequence[Entry], virtual: frozenset[str]
) -> None:
    """What fills it must depend on real tables alone, and each of its rows must have an id of its own."""
    views = {it.name for it in schema if it.kind == "view"}
    if any(mentions(it, virtual | views) for it in (filling.condition, *filling.values.values())):
        raise _Unproven("what fills it reads more than real tables")
    source = _entry(schema, filling.source)
    if source is None or (source.kind, bool(source.root)) == ("table", False):
        raise _Unproven("its rows come from no table and no view")
    if source.kind == "table":
        if not read_table(connection, source.name).is_row_id(filling.rowid):
            raise _Unproven(f"its row ids are not those of {source.name}")
        return
    if mentions(source.sql, virtual | (views - {source.name})):
        raise _Unproven(f"the view {source.name} reads more than real tables")
    ids = f"SELECT count(*) - count(DISTINCT {_ROW}.{quoted(filling.rowid)}) FROM {quoted(source.name)} AS {_ROW}"  # noqa: S608 - quoted
    if connection.execute(ids).fetchone() != (0,):
        raise _Unproven(f"the view {source.name} has rows that share an id")


def _require_same_rows(connection: sqlite3.Connection, table: FullText, filling: Insertion) -> int:
    """Compare what fills it with what it holds; return how many rows that are."""
    held = quoted(table.table + ("_docsize" if table.content else "_content"))
    if table.table + ("_docsize" if table.content else "_content") not in table.shadows:
        raise _Unproven("nothing tells which rows it holds")
    rows = f"FROM {quoted(filling.source)} AS {_ROW}"
    when = f"({filling.condition})" if filling.condition else "1"
    same = "" if table.content else "".join(f" AND {it}" for it in _comparisons(connection, table, filling))
    ids = f"hb_held.id = {_ROW}.{quoted(filling.rowid)}"
    asked = (
        f"SELECT count(*) FROM {held}",  # noqa: S608 - quoted
        f"SELECT count(*) {rows} WHERE {when}",
        f"SELECT count(*) {rows} CROSS JOIN {held} AS hb_held ON {ids} WHERE {when}{same}",
    )
    there, wanted, alike = (int(connection.execute(it).fetchone()[0]) for it in asked)
    if not there == wanted == alike:
        raise _Unproven(f"it holds {there} rows, its triggers would insert {wanted}, and {alike} are the same")
    return there


def _comparisons(connection: sqlite3.Connection, table: FullText, filling: Insertion) -> list[str]:
    """Write what must hold for each row: the same value, and the same type, for 1 is 1.0 to SQLite, not to a search."""
    held = read_table(connection, table.table + "_content").columns
    if held != ("id", *(f"c{number}" for number in range(len(table.columns)))):
        raise _Unproven("how it keeps its content is not understood")
    given = {folded(name): value for name, value in filling.values.items()}
    comparisons = []
    for number, column in enumerate(table.columns):
        kept, value = f"hb_held.c{number}", f"+({given.get(folded(column), 'NULL')})"
        comparisons += [
            f"{kept} COLLATE BINARY IS {value}",
            f"(typeof({kept}) NOT IN ('integer', 'real') OR typeof({kept}) = typeof({value}))",
        ]
    return comparisons


def _settings(connection: sqlite3.Connection, table: FullText) -> tuple[str, ...]:
    """Return the statements that set it up as it is: how it ranks, how it merges."""
    config = table.table + "_config"
    if config not in table.shadows:
        raise _Unproven("nothing tells how it is set up")
    query = f"SELECT k, quote(v) FROM {quoted(config)} WHERE k <> 'version' ORDER BY k"  # noqa: S608 - quoted
    found = connection.execute(query).fetchall()
    if unknown := [str(key) for key, _ in found if key not in _SETTINGS]:
        raise _Unproven(f"its setting {unknown[0]} is not understood")
    return tuple(command(table.table, key, value) for key, value in found)


def _entry(schema: Sequence[Entry], name: str) -> Entry | None:
    return next((it for it in schema if it.kind in ("table", "view") and folded(it.name) == folded(name)), None)
