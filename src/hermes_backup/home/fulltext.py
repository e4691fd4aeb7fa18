"""The FTS5 tables of a database: how each is made, where it keeps what it holds, and which triggers name it."""

from __future__ import annotations

import contextlib
import sqlite3
from dataclasses import dataclass
from typing import TYPE_CHECKING

from hermes_backup.home.facts import broken, reading
from hermes_backup.home.schema import Entry, mentions, read_schema
from hermes_backup.home.sql_text import Token, divided, enclosed, tokens
from hermes_backup.home.triggers import Trigger, read_trigger

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path

_SHADOWS = ("_data", "_idx", "_content", "_docsize", "_config")
# FTS5 takes them shortened, too: that is not understood here
_OPTIONS = frozenset(("columnsize", "content", "content_rowid", "detail", "prefix", "tokenize"))


@dataclass(frozen=True)
class FullText:
    """An FTS5 table.

    Attributes:
        columns: also those that are not indexed.
        shadows: the real tables that hold what it holds.
        triggers: those that name it, None for one that is not understood.
        unclear: what is not understood of how it is made; empty where everything is.
    """

    table: str
    sql: str
    columns: tuple[str, ...]
    options: Mapping[str, str]
    shadows: tuple[str, ...]
    triggers: tuple[Trigger | None, ...]
    unclear: str = ""

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
        found = tokens(entry.sql or "") if entry.is_virtual else None
        arguments = _arguments(found or ())
        if arguments is None:
            continue
        columns, options, unclear = _made(arguments)
        shadows = tuple(entry.name + it for it in _SHADOWS if entry.name + it in real)
        triggers = tuple(
            read_trigger(it.name, it.table, it.sql or "")
            for it in schema
            if it.kind == "trigger" and mentions(it.sql, (entry.name,))
        )
        yield FullText(entry.name, entry.sql or "", columns, options, shadows, triggers, unclear)


def _arguments(found: Sequence[Token]) -> tuple[Token, ...] | None:
    """Return what FTS5 is given to make a table; None where another module makes it."""
    using = next((number for number, it in enumerate(found) if it.is_word("USING")), len(found))
    match found[using:]:
        case (_, module, *rest) if module.is_name("fts5"):
            between = enclosed(rest)
            return between[0] if between else ()
    return None


def _made(arguments: Sequence[Token]) -> tuple[tuple[str, ...], dict[str, str], str]:
    """Read columns and options; the last says what is not understood."""
    columns: list[str] = []
    options: dict[str, str] = {}
    for part in divided(arguments, ","):
        match part:
            case (option, Token(text="="), value):
                options[option.name.lower()] = value.name
            case (Token(kind="word" | "quoted" | "string") as column,):
                columns.append(column.name)
            case (Token(kind="word" | "quoted" | "string") as column, after) if after.is_word("UNINDEXED"):
                columns.append(column.name)
            case _:
                return (), {}, "how it is made is not understood"
    unknown = sorted(options.keys() - _OPTIONS)
    return tuple(columns), options, f"its option {unknown[0]} is not understood" if unknown else ""


def shadow_tables(path: Path) -> frozenset[str]:
    """Return the tables of a database in which FTS5 keeps its indexes: how their rows are cut, it decides itself.

    Raises:
        DatabaseBroken: it cannot be read.
    """
    try:
        with reading(path) as connection:
            found = full_text_tables(read_schema(connection))
    except sqlite3.Error as error:
        raise broken(error) from error
    return frozenset(name for it in found for name in it.shadows)


def why_not_made(sql: str) -> str:
    """Say why this SQLite cannot make such a table; empty where it can."""
    with contextlib.closing(sqlite3.connect(":memory:")) as connection:
        try:
            connection.execute(sql)
        except sqlite3.Error as error:
            return f"SQLite says: {error}"
    return ""
