"""The FTS5 tables of a database: how each is made, where it keeps what it holds, and which triggers name it."""

from __future__ import annotations

import contextlib
import sqlite3
from dataclasses import dataclass
from typing import TYPE_CHECKING

from hermes_backup.home.databases.access import access
from hermes_backup.home.databases.facts import broken, quoted
from hermes_backup.home.databases.schema import Entry, mentions, read_schema
from hermes_backup.home.databases.sql_text import Token, divided, enclosed, folded, tokens
from hermes_backup.home.databases.triggers import Trigger, read_trigger

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path

SHADOWS = ("_data", "_idx", "_content", "_docsize", "_config")
"""How the names of an index's own tables end (FTS5, "FTS5 Data Structures")."""


@dataclass(frozen=True)
class FullText:
    """An FTS5 table.

    Attributes:
        columns: also those that are not indexed; ``indexed`` are the others.
        options: as they are written; FTS5 takes their names shortened, too.
        shadows: the real tables that hold what it holds.
        triggers: those that name it, None for one that is not understood.
        clear: how it is made is understood.
    """

    table: str
    sql: str
    columns: tuple[str, ...]
    indexed: tuple[str, ...]
    options: Mapping[str, str]
    shadows: tuple[str, ...]
    triggers: tuple[Trigger | None, ...]
    clear: bool

    @property
    def content(self) -> str | None:
        """The table or view that holds its rows; empty where nothing does, None where it does itself."""
        return self.options.get("content")


def full_text_tables(schema: Sequence[Entry]) -> tuple[FullText, ...]:
    """Return the FTS5 tables of a schema."""
    return tuple(_full_text_tables(schema))


def _full_text_tables(schema: Sequence[Entry]) -> Iterator[FullText]:
    real = {it.name for it in schema if it.is_real_table}
    for entry in schema:
        if folded(module_of(entry)) != "fts5":
            continue
        made = _made(_arguments(entry))
        columns, options = made or ((), {})
        yield FullText(
            table=entry.name,
            sql=entry.sql or "",
            columns=tuple(name for name, _ in columns),
            indexed=tuple(name for name, is_indexed in columns if is_indexed),
            options=options,
            shadows=tuple(entry.name + it for it in SHADOWS if entry.name + it in real),
            triggers=tuple(
                read_trigger(it.name, it.table, it.sql or "")
                for it in schema
                if it.kind == "trigger" and mentions(it.sql, (entry.name,))
            ),
            clear=made is not None,
        )


def module_of(entry: Entry) -> str:
    """Return the module that makes a virtual table; empty where that is not understood, or it is none."""
    match _using(entry):
        case (_, module, *_):
            return module.name
    return ""


def _using(entry: Entry) -> Sequence[Token]:
    found = (tokens(entry.sql or "") if entry.is_virtual else None) or ()
    return found[next((number for number, it in enumerate(found) if it.is_word("USING")), len(found)) :]


def _arguments(entry: Entry) -> Sequence[Token]:
    between = enclosed(_using(entry)[2:])
    return between[0] if between else ()


def _made(arguments: Sequence[Token]) -> tuple[list[tuple[str, bool]], dict[str, str]] | None:
    """Read columns, each with whether it is indexed, and options; None where they are not understood."""
    columns: list[tuple[str, bool]] = []
    options: dict[str, str] = {}
    for part in divided(arguments, ","):
        match part:
            case (option, Token(text="="), value):
                options[option.name.lower()] = value.name
            case (Token(kind="word" | "quoted" | "string") as column,):
                columns.append((column.name, True))
            case (Token(kind="word" | "quoted" | "string") as column, after) if after.is_word("UNINDEXED"):
                columns.append((column.name, False))
            case _:
                return None
    return columns, options


def besides_indexes(path: Path, *counted: Mapping[str, int], private: bool = False) -> tuple[Mapping[str, int], ...]:
    """Return row counts without the tables in which FTS5 keeps this database's indexes: it cuts their rows itself.

    ``private`` as :func:`access` has it.

    Raises:
        DatabaseBroken: it cannot be read.
    """
    try:
        with access(path, private=private) as opened:
            found = full_text_tables(read_schema(opened.connection))
    except sqlite3.Error as error:
        raise broken(error) from error
    shadows = {name for it in found for name in it.shadows}
    return tuple({table: rows for table, rows in it.items() if table not in shadows} for it in counted)


def why_not_made(sql: str) -> str:
    """Say why this SQLite cannot make such a table; empty where it can."""
    with contextlib.closing(sqlite3.connect(":memory:")) as connection:
        try:
            connection.execute(sql)
        except sqlite3.Error as error:
            return f"SQLite says: {error}"
    return ""


def command(table: str, name: str, value: int | str) -> str:
    """Return the statement that tells a table something: a setting, or what to do (FTS5, "Special INSERT Commands").

    ``value`` is written as SQL.
    """
    return f"INSERT INTO {quoted(table)} ({quoted(table)}, rank) VALUES ('{name}', {value})"  # noqa: S608 - quoted
