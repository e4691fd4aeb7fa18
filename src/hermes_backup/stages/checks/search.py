"""Does full-text search answer? Each FTS5 table is asked for a word of its own newest row.

A table over another one's rows shows all of them, and holds only those that triggers put there: hermes-agent leaves
answers of tools out of one index, and others while it builds it anew. Its docsize table tells which it holds.

That a row is not found is a failure only where its word is sure to be one: what is a letter, or belongs to the word
before, is otherwise for the tokenizer to say.
"""

from __future__ import annotations

import re
import sqlite3
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from hermes_backup.home.databases.facts import quoted
from hermes_backup.home.databases.fulltext import FullText, full_text_tables, module_of
from hermes_backup.home.databases.schema import read_schema
from hermes_backup.stages.checks.unasked import unasked
from hermes_backup.stages.things import Finding, Verdict

_OPTIONS = frozenset(
    ("columnsize", "content", "content_rowid", "contentless_delete", "contentless_unindexed", "detail", "locale",
     "prefix", "tokendata", "tokenize")
)  # fmt: skip
_UNCLEAR = "how it was made is not understood"
_BUILT_IN = frozenset(("unicode61", "ascii", "porter", "trigram"))
_WORD = re.compile(r"(?<![^\W_])[^\W_]{3,60}(?![^\W_])")
# of scripts that were there before any Unicode that SQLite knows, and between two characters that all tokenizers know
_SURE = re.compile(r"(?<![^\W_]|[^\x00-\x7f])(?:(?![\W_])[\x00-\u04ff]){3,60}(?![^\W_]|[^\x00-\x7f])")
_UNASKABLE = re.compile(r"not supported \(detail")
_NEWEST = 50  # rows to look at: some may hold no word
_TRIES = 5  # words of a row: a tokenizer may leave some out
_READ = 20_000  # characters of a row


@dataclass(frozen=True)
class _Row:
    """The words of a row to ask for, each with its column; ``sure``: the first must be found."""

    rowid: int
    words: tuple[tuple[str, str], ...]
    sure: bool


def searches(connection: sqlite3.Connection, name: str) -> Iterator[Finding]:
    """Ask every full-text table of a database; the words stay here."""
    schema = read_schema(connection)
    known = {it.table: it for it in full_text_tables(schema)}
    for entry in (it for it in schema if it.is_virtual):
        module = module_of(entry).lower()
        if module and not module.startswith("fts"):
            continue
        if entry.name in known:
            verdict, evidence = _asked(connection, known[entry.name])
        else:
            verdict, evidence = "unproven", f"{module} is not asked" if module else _UNCLEAR
        yield Finding(f"{name}: search in {entry.name}", verdict, evidence)


def _asked(connection: sqlite3.Connection, index: FullText) -> tuple[Verdict, str]:
    if not index.clear or not _OPTIONS.issuperset(index.options):
        return "unproven", _UNCLEAR
    try:
        rows = [_row(index, row[0], row[1:]) for row in _newest(connection, index)]
        asked = [(row, _found(connection, index, row)) for row in rows]
    except sqlite3.OperationalError as error:
        verdict = "unproven" if _UNASKABLE.search(str(error)) else unasked(error)
        return verdict, f"SQLite says: {error}"
    external = index.content is not None
    if not rows:
        return "unproven", "nothing tells of a row that it holds" if external else "it is empty"
    return _judged([(found, row.sure) for row, found in asked if row.words], own=not external)


def _judged(asked: Sequence[tuple[bool, bool]], *, own: bool) -> tuple[Verdict, str]:
    """Judge by which of the newest rows were found, and which had to be; ``own``: the table holds what it shows."""
    if not asked:
        return "unproven", "its newest rows hold no word to ask for"
    found = [it for it, _ in asked]
    due = [it for it, sure in asked if sure]
    if found[0]:
        return "ok", "its newest row is found by its own words"
    if any(found):
        said = f"{sum(found)} of the newest {len(found)} rows are found by their own words, not the newest"
        return "failed" if own and due and not due[0] else "unproven", said
    said = f"none of the newest {len(found)} rows is found by its own words"
    return ("failed", said) if due else ("unproven", f"{said}, which its tokenizer may divide otherwise")


def _newest(connection: sqlite3.Connection, index: FullText) -> Sequence[tuple[Any, ...]]:
    """Return the newest rows that must be in the index."""
    sizes = f"{index.table}_docsize"
    held = ""
    if index.content is not None:
        known = "SELECT count(*) FROM sqlite_master WHERE type = 'table' AND name = ?"
        if connection.execute(known, (sizes,)).fetchone() == (0,):
            return ()  # columnsize=0: nothing tells
        held = f"WHERE rowid IN (SELECT id FROM {quoted(sizes)} ORDER BY id DESC LIMIT {_NEWEST})"  # noqa: S608 - quoted
    columns = ", ".join(["rowid", *map(quoted, index.indexed)])
    query = f"SELECT {columns} FROM {quoted(index.table)} {held} ORDER BY rowid DESC LIMIT ?"  # noqa: S608 - quoted
    return connection.execute(query, (_NEWEST,)).fetchall()


def _row(index: FullText, rowid: int, values: Sequence[object]) -> _Row:
    """Return the longest words of a row, those first that are sure."""
    texts = [(name, value) for name, value in zip(index.indexed, values, strict=True) if isinstance(value, str)]
    known = _sure(index)
    sure = _longest(texts, known) if known else []
    words = dict.fromkeys([*sure, *_longest(texts, _WORD)])
    return _Row(rowid, tuple(words)[:_TRIES], bool(sure))


def _sure(index: FullText) -> re.Pattern[str] | None:
    """Return what is a word for its tokenizer, whatever it is; None where that is not known, as with options."""
    words = index.options.get("tokenize", "unicode61").lower().split()
    if not _BUILT_IN.issuperset(words):
        return None
    return _WORD if "trigram" in words else _SURE


def _longest(texts: Sequence[tuple[str, str]], word: re.Pattern[str]) -> list[tuple[str, str]]:
    found: set[tuple[str, str]] = set()
    for column, text in texts:
        read = text[:_READ].partition("\0")[0]  # where trigram ends
        words = word.findall(read)
        found.update((column, it) for it in (words if len(read) < _READ else words[:-1]))  # the last one may be cut
    return sorted(found, key=lambda it: (-len(it[1]), it))[:_TRIES]


def _found(connection: sqlite3.Connection, index: FullText, row: _Row) -> bool:
    table = quoted(index.table)
    query = f"SELECT 1 FROM {table} WHERE {table} MATCH ? AND rowid = ?"  # noqa: S608 - quoted
    by_column = not index.options.get("detail", "full").lower().startswith("n")
    for column, word in row.words:
        wanted = f'{quoted(column)} : "{word}"' if by_column else f'"{word}"'
        if connection.execute(query, (wanted, row.rowid)).fetchone() is not None:
            return True
    return False
