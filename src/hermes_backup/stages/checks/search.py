"""Does full-text search answer? Each FTS5 table is asked for a word of its own newest row."""

from __future__ import annotations

import re
import sqlite3
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from hermes_backup.home.facts import quoted
from hermes_backup.stages.checks.unasked import unasked
from hermes_backup.stages.things import Finding, Verdict

_CREATE = re.compile(r"CREATE\s+VIRTUAL\s+TABLE\b.*?\bUSING\s+(\w+)\s*\((.*)\)\s*;?\s*", re.IGNORECASE | re.DOTALL)
_PART = re.compile(r"""(?:[^,'"`\[]|'(?:[^']|'')*'|"(?:[^"]|"")*"|`[^`]*`|\[[^\]]*\])+""")
_NAME = re.compile(r"""\s*("(?:[^"]|"")*"|'(?:[^']|'')*'|`[^`]*`|\[[^\]]*\]|\w+)""")
_WORD = re.compile(r"[^\W_]{3,60}")
_NEWEST = 50  # rows to look at: triggers of the agent may leave some out of the index
_TRIES = 5  # words of a row: a tokenizer may leave some out
_LONGEST = 10_000  # characters of a statement: reading it takes their square
_READ = 20_000  # characters of a row


@dataclass(frozen=True)
class _Index:
    """A full-text table: the columns that it can be asked for, and the kind of module that it is."""

    table: str
    module: str
    columns: tuple[str, ...]


def searches(connection: sqlite3.Connection, name: str) -> Iterator[Finding]:
    """Ask every full-text table of a database; the words stay here."""
    rows = connection.execute("SELECT name, sql FROM sqlite_master WHERE type = 'table' AND rootpage = 0").fetchall()
    for table, sql in rows:
        index = _read(str(table), str(sql))
        if index is None:
            continue
        verdict, evidence = _asked(connection, index)
        yield Finding(f"{name}: search in {table}", verdict, evidence)


def _read(table: str, sql: str) -> _Index | None:
    """Read what a table was made by; None for a virtual table that is no full-text index."""
    made = _CREATE.fullmatch(sql.strip()) if len(sql) <= _LONGEST else None
    if made is None or not made[1].lower().startswith("fts"):
        return None
    parts = [it.strip() for it in _PART.findall(made[2])]
    columns = [
        it for it in parts if it and not re.match(r"\w+\s*=", it) and not re.search(r"\bUNINDEXED$", it, re.IGNORECASE)
    ]
    names = [found[1] for it in columns if (found := _NAME.match(it))]
    return _Index(table, made[1].lower(), tuple(_bare(it) for it in names))


def _asked(connection: sqlite3.Connection, index: _Index) -> tuple[Verdict, str]:
    if index.module != "fts5":
        return "unproven", f"{index.module} is not asked"
    table = quoted(index.table)
    try:
        columns = ", ".join(map(quoted, index.columns))
        query = f"SELECT rowid, {columns} FROM {table} ORDER BY rowid DESC LIMIT {_NEWEST}"  # noqa: S608 - quoted
        rows = [(row[0], _words(row[1:], index.columns)) for row in connection.execute(query)]
        asked = [_found(connection, table, rowid, words) for rowid, words in rows if words]
    except sqlite3.OperationalError as error:
        return unasked(error), f"SQLite says: {error}"
    if not asked:
        return "unproven", "it is empty" if not rows else "its newest rows hold no word to ask for"
    if asked[0]:
        return "ok", "its newest row is found by its own words"
    if any(asked):
        return "unproven", f"{sum(asked)} of the newest {len(asked)} rows are found by their own words, not the newest"
    return "failed", f"none of the newest {len(asked)} rows is found by its own words"


def _words(values: Sequence[object], columns: Sequence[str]) -> list[tuple[str, str]]:
    """Return the longest words of a row, each with its column."""
    found = {
        (column, word)
        for column, value in zip(columns, values, strict=True)
        if isinstance(value, str)
        for word in _WORD.findall(value[:_READ])
    }
    return sorted(found, key=lambda it: (-len(it[1]), it))[:_TRIES]


def _found(connection: sqlite3.Connection, table: str, rowid: int, words: Sequence[tuple[str, str]]) -> bool:
    query = f"SELECT 1 FROM {table} WHERE {table} MATCH ? AND rowid = ?"  # noqa: S608 - quoted
    asked = (connection.execute(query, (f'{quoted(it[0])} : "{it[1]}"', rowid)) for it in words)
    return any(it.fetchone() is not None for it in asked)


def _bare(name: str) -> str:
    """Return a name without its quotes."""
    first = name[0]
    if first in "[`":
        return name[1:-1]
    return name[1:-1].replace(first * 2, first) if first in "\"'" else name
