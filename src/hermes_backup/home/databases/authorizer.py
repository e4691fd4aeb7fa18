"""What the statements of a search index may do: make it and write to it, and nothing else.

They are the word of a snapshot's host, which may have been taken over. SQLite asks before each part of a statement,
those of its triggers included (https://sqlite.org/c3ref/set_authorizer.html).
"""

from __future__ import annotations

import contextlib
import sqlite3
from dataclasses import dataclass
from typing import TYPE_CHECKING

from hermes_backup.home.databases.facts import DatabaseBroken
from hermes_backup.home.databases.fulltext import SHADOWS
from hermes_backup.home.databases.schema import read_schema
from hermes_backup.home.databases.sql_text import folded
from hermes_backup.home.databases.triggers import STEADY, read_trigger

if TYPE_CHECKING:
    from collections.abc import Iterator

_READING = frozenset((sqlite3.SQLITE_SELECT, sqlite3.SQLITE_READ, sqlite3.SQLITE_RECURSIVE))
_WRITING = frozenset((sqlite3.SQLITE_INSERT, sqlite3.SQLITE_UPDATE, sqlite3.SQLITE_DELETE))
_OTHER_FILES = frozenset((sqlite3.SQLITE_ATTACH, sqlite3.SQLITE_DETACH))
_SCHEMA = "sqlite_master"  # SQLite itself refuses a statement that names it to write to it
_ASKED_BY_FTS5 = ("data_version", None)
_OPERATORS = frozenset(("like", "glob", "->", "->>"))  # functions to SQLite, and no names to a trigger
_NAMES = {
    getattr(sqlite3, f"SQLITE_{it}"): it.replace("_", " ")
    for it in (
        "ALTER_TABLE", "ANALYZE", "ATTACH", "CREATE_INDEX", "CREATE_TABLE", "CREATE_TEMP_INDEX", "CREATE_TEMP_TABLE",
        "CREATE_TEMP_TRIGGER", "CREATE_TEMP_VIEW", "CREATE_TRIGGER", "CREATE_VIEW", "CREATE_VTABLE", "DELETE", "DETACH",
        "DROP_INDEX", "DROP_TABLE", "DROP_TEMP_INDEX", "DROP_TEMP_TABLE", "DROP_TEMP_TRIGGER", "DROP_TEMP_VIEW",
        "DROP_TRIGGER", "DROP_VIEW", "DROP_VTABLE", "FUNCTION", "INSERT", "PRAGMA", "REINDEX", "SAVEPOINT",
        "TRANSACTION", "UPDATE",
    )
}  # fmt: skip


class StatementRefused(DatabaseBroken):
    """A statement would do what no statement of a search index does."""


@dataclass(frozen=True)
class _Rights:
    """What is allowed in one step: to make the index and its own tables, to write to some, or to make triggers."""

    index: str = ""
    made: frozenset[str] = frozenset()
    written: frozenset[str] = frozenset()
    functions: frozenset[str] = frozenset()
    views: frozenset[str] = frozenset()
    triggers: bool = False

    def allow(self, action: int, first: str | None, second: str | None, source: str | None) -> bool:
        """Decide on a part of a statement; ``source`` is the view or trigger that it is of."""
        named = (second or "").lower()
        return action in _READING or {
            sqlite3.SQLITE_PRAGMA: (first, second) == _ASKED_BY_FTS5,
            sqlite3.SQLITE_CREATE_VTABLE: (first, named) == (self.index, "fts5"),
            sqlite3.SQLITE_CREATE_TABLE: first in self.made,
            sqlite3.SQLITE_CREATE_INDEX: second in self.made,  # of the key of a table that is made
            sqlite3.SQLITE_CREATE_TRIGGER: self.triggers,
            # in a view SQLite allows only such as do no more than to compute
            sqlite3.SQLITE_FUNCTION: named in self.functions or source in self.views,
            **dict.fromkeys(_WRITING, first in self.written),
        }.get(action, False)


class Authorizer:
    """Watches one connection. Within its blocks statements of one index are run, outside of them our own."""

    def __init__(self, connection: sqlite3.Connection, *, own_function: str) -> None:
        self._connection = connection
        self._functions = STEADY | _OPERATORS | {own_function}
        self._rights: _Rights | None = None
        self._refused = ""
        connection.set_authorizer(self._decide)

    @contextlib.contextmanager
    def creating(self, table: str) -> Iterator[frozenset[str]]:
        """Run the statement that makes an index; give the names of the tables that are its own then.

        Raises:
            DatabaseBroken: something of its name is there, or was made instead.
            StatementRefused: it would do something else.
        """
        before = {folded(it.name) for it in read_schema(self._connection)}
        if folded(table) in before:
            raise DatabaseBroken(f"there is something called {table} already")
        shadows = frozenset(table + it for it in SHADOWS if folded(table + it) not in before)
        with self._within(_Rights(table, shadows, shadows | {_SCHEMA}), table):
            yield shadows | {table}
        if table not in (it.name for it in read_schema(self._connection) if it.is_virtual):
            raise DatabaseBroken(f"the statement that makes {table} makes something else")

    @contextlib.contextmanager
    def filling(self, table: str, own: frozenset[str]) -> Iterator[None]:
        """Run statements that set up an index and fill it: they write to its ``own`` tables.

        Raises:
            StatementRefused: one would do something else.
        """
        views = frozenset(it.name for it in read_schema(self._connection) if it.kind == "view")
        with self._within(_Rights(written=own, functions=self._functions, views=views), table):
            yield

    @contextlib.contextmanager
    def minding(self, table: str, statement: str) -> Iterator[None]:
        """Run a statement that makes a trigger; one that writes to the index alone.

        Raises:
            StatementRefused: it would do something else.
        """
        trigger = read_trigger("", "", statement)
        if trigger is None or not trigger.writes_only(table):
            raise _refusal(table, "a trigger that does more than to write to it, or is not understood")
        with self._within(_Rights(written=frozenset({_SCHEMA}), triggers=True), table):
            yield

    @contextlib.contextmanager
    def _within(self, rights: _Rights, table: str) -> Iterator[None]:
        self._rights = rights
        try:
            yield
        except sqlite3.Error as error:
            if self._refused:
                raise _refusal(table, self._refused) from error
            raise
        finally:
            self._rights = None

    def _decide(
        self, action: int, first: str | None, second: str | None, _schema: str | None, source: str | None
    ) -> int:
        if self._rights is None:
            return sqlite3.SQLITE_DENY if action in _OTHER_FILES else sqlite3.SQLITE_OK
        if self._rights.allow(action, first, second, source):
            return sqlite3.SQLITE_OK
        name = _NAMES.get(action, f"action {action}")
        self._refused = (
            self._refused or f"{name} {second if action == sqlite3.SQLITE_FUNCTION else first or ''}".strip()
        )
        return sqlite3.SQLITE_DENY


def _refusal(table: str, what: str) -> StatementRefused:
    return StatementRefused(f"the statements of {table} are refused: {what}")
