"""Does full-text search answer? Each FTS5 table is asked for a word of its own newest row.

A table over another one's rows shows all of them, and holds only those that triggers put there: hermes-agent leaves
answers of tools out of one index, and others while it builds it anew. Its docsize table tells which it holds.
"""

from __future__ import annotations

import re
import sqlite3
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from hermes_backup.home.facts import quoted
from hermes_backup.stages.checks.unasked import unasked
from hermes_backup.stages.things import Finding, Verdict

_CREATE = re.compile(r"CREATE\s+VIRTUAL\s+TABLE\b.*?\bUSING\s+(\w+)\s*\((.*)\)\s*;?\s*", re.IGNORECASE | re.DOTALL)
_PART = re.compile(r"""(?:[^,'"`\[]|'(?:[^']|'')*'|"(?:[^"]|"")*"|`[^`]*`|\[[^\]]*\])+""")
_NAME = re.compile(r"""\s*("(?:[^"]|"")*"|'(?:[^']|'')*'|`[^`]*`|\[[^\]]*\]|\w+)""")
_OPTION = re.compile(r"(\w+)\s*=")
_WORD = re.compile(r"[^\W_]{3,60}")
_NEWEST = 50  # rows to look at: some may hold no word
_TRIES = 5  # words of a row: a tokenizer may leave some out
_LONGEST = 10_000  # characters of a statement: reading it takes their square
_READ = 20_000  # characters of a row


@dataclass(frozen=True)
class _Index:
    """A full-text table: the columns that it can be asked for, and the kind of module that it is.

    ``external``: its rows lie in another table.
    """

    table: str
    module: str
    columns: tuple[str, ...]
    external: bool


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
    options = [found[1].lower() for it in parts if (found := _OPTION.match(it))]
    columns = [it for it in parts if not _OPTION.match(it) and not re.search(r"\bUNINDEXED$", it, re.IGNORECASE)]
    names = [found[1] for it in columns if (found := _NAME.match(it))]
    return _Index(table, made[1].lower(), tuple(_bare(it) for it in names), "content" in options)


def _asked(connection: sqlite3.Connection, index: _Index) -> tuple[Verdict, str]:
    if index.module != "fts5":
        return "unproven", f"{index.module} is not asked"
    table = quoted(index.table)
    try:
        rows = [(row[0], _words(row[1:], index.columns)) for row in _newest(connection, index)]
        asked = [_found(connection, table, rowid, words) for rowid, words in rows if words]
    except sqlite3.OperationalError as error:
        return unasked(error), f"SQLite says: {error}"
    if not rows:
        return "unproven", "nothing tells of a row that it holds" if index.external else "it is empty"
    return _judged(asked)


def _judged(asked: Sequence[bool]) -> tuple[Verdict, str]:
    """Judge by which of the newest rows were found, the newest first."""
    if not asked:
        return "unproven", "its newest rows hold no word to ask for"
    if asked[0]:
        return "ok", "its newest row is found by its own words"
    if any(asked):
        return "unproven", f"{sum(asked)} of the newest {len(asked)} rows are found by their own words, not the newest"
    return "failed", f"none of the newest {len(asked)} rows is found by its own words"


def _newest(connection: sqlite3.Connection, index: _Index) -> Sequence[tuple[Any, ...]]:
    """Return the newest rows that must be in the index."""
    sizes = f"{index.table}_docsize"
    held = ""
    if index.external:
        known = "SELECT count(*) FROM sqlite_master WHERE type = 'table' AND name = ?"
        if connection.execute(known, (sizes,)).fetchone() == (0,):
            return ()  # columnsize=0: nothing tells
        held = f"WHERE rowid IN (SELECT id FROM {quoted(sizes)} ORDER BY id DESC LIMIT {_NEWEST})"  # noqa: S608 - quoted
    columns = ", ".join(map(quoted, index.columns))
    query = f"SELECT rowid, {columns} FROM {quoted(index.table)} {held} ORDER BY rowid DESC LIMIT ?"  # noqa: S608 - quoted
    return connection.execute(query, (_NEWEST,)).fetchall()


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
