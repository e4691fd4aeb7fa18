"""Lean copies of schemas of every kind: what is not left out is the same, row by row and statement by statement."""

from __future__ import annotations

import contextlib
import sqlite3
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hermes_backup.home.databases.facts import quoted
from hermes_backup.home.databases.lean import Copied
from hermes_backup.home.databases.renewing import copy_renewed
from tests.home.describing import described
from tests.home.full_text import CARRYING, MESSAGES
from tests.home.lean_copies import copy_lean

# {} is the table's name; every one can be given values for its columns a and b
TABLES = {
    "plain": "CREATE TABLE {}(a, b)",
    "typed": "CREATE TABLE {}(a TEXT, b REAL DEFAULT 3.5, c NUMERIC DEFAULT '7', d INTEGER DEFAULT 'x')",
    "primary": "CREATE TABLE {}(a INTEGER PRIMARY KEY, b)",
    "primary elsewhere": "CREATE TABLE {}(b, note TEXT DEFAULT 'x', a INTEGER PRIMARY KEY)",
    "descending primary": "CREATE TABLE {}(a INTEGER PRIMARY KEY DESC, b)",
    "counted": "CREATE TABLE {}(a INTEGER PRIMARY KEY AUTOINCREMENT, b)",
    "text key": "CREATE TABLE {}(a TEXT PRIMARY KEY, b)",
    "unique": "CREATE TABLE {}(a UNIQUE ON CONFLICT IGNORE, b COLLATE NOCASE, UNIQUE (b, a))",
    "no row ids": "CREATE TABLE {}(a, b, PRIMARY KEY (a, b DESC)) WITHOUT ROWID",
    "no row ids, text": "CREATE TABLE {}(a TEXT COLLATE NOCASE PRIMARY KEY, b) WITHOUT ROWID",
    "computed": "CREATE TABLE {}(a, s AS (typeof(a) || 1) STORED, b, v AS (quote(b)))",
    "computed with key": "CREATE TABLE {}(v AS (b) STORED, a INTEGER PRIMARY KEY, b, w INT AS (a) UNIQUE)",
    "row id taken": "CREATE TABLE {}(a, b, rowid)",
    "row ids taken": "CREATE TABLE {}(a, b, rowid, oid, _rowid_ INTEGER DEFAULT 4)",
    "row ids taken, indexed": "CREATE TABLE {}(a UNIQUE, b, rowid, oid, _rowid_)",
    "checked": "CREATE TABLE {}(a NOT NULL DEFAULT 0, b CHECK (b > 5), CHECK (a <> b))",
    "referring": "CREATE TABLE {}(a REFERENCES messages(id) ON DELETE CASCADE, b REFERENCES nowhere)",
    "strict": "CREATE TABLE {}(a ANY, b ANY) STRICT",
}
EXTRAS = (
    "CREATE INDEX {0}_i1 ON {1}(b DESC, a)",
    "CREATE UNIQUE INDEX {0}_i2 ON {1}(a COLLATE NOCASE, b) WHERE a IS NULL",
    "CREATE INDEX {0}_i3 ON {1}(typeof(a), b) WHERE b > 3",
    "ALTER TABLE {1} ADD COLUMN added DEFAULT 'of later'",
    'ALTER TABLE {1} RENAME COLUMN b TO "b 2"',
    "CREATE VIEW {0}_v AS SELECT * FROM {1} WHERE a > 1",
    "CREATE VIEW {0}_w AS SELECT unknown_function(a) FROM nowhere",
    "CREATE TRIGGER {0}_t AFTER INSERT ON {1} BEGIN DELETE FROM messages WHERE id = new.a; END",
    "CREATE TRIGGER {0}_u INSTEAD OF DELETE ON {0}_v BEGIN SELECT unknown_function(); END",
    "DELETE FROM {1} WHERE a IS NOT NULL",
    "ANALYZE",
    "CREATE VIRTUAL TABLE {0}_f USING fts5(x, content='')",
    "CREATE VIRTUAL TABLE {0}_g USING fts5(x); INSERT INTO {0}_g VALUES ('one of two'), ('two of two')",
    "CREATE VIRTUAL TABLE {0}_h USING fts4(x, y); INSERT INTO {0}_h VALUES ('one of two', 3), ('two of two', NULL)",
    "CREATE VIRTUAL TABLE {0}_r USING rtree(id, x0, x1); INSERT INTO {0}_r VALUES (4, 1, 2)",
    "CREATE VIRTUAL TABLE {0}_e USING fts5vocab(fts, row)",
    "CREATE TABLE {0}_as AS SELECT * FROM {1}",
    "DROP TABLE {1}",
)
NAMES = ("data", "two words", 'quo"ted', "new\nline", "select", "état", "copied", "main", "it's", "[x]", "-- no", "a.b")
VALUES = st.one_of(
    st.none(),
    st.integers(-(2**63), 2**63 - 1),
    st.integers(-3, 9),
    st.floats(allow_nan=False),
    st.text(st.characters(exclude_categories=["Cs"]), max_size=9),
    st.binary(max_size=9),
    st.binary(min_size=900, max_size=1100),
)
ROWS = st.lists(st.tuples(st.integers(-(2**40), 2**40), VALUES, VALUES), max_size=6)


@st.composite
def scripts(draw: st.DrawFn) -> tuple[tuple[str, Sequence[Any]], ...]:
    """Draw statements, each with its parameters; those that fail are passed over."""
    steps: list[tuple[str, Sequence[Any]]] = [
        (f"PRAGMA encoding = '{draw(st.sampled_from(['UTF-8', 'UTF-16le', 'UTF-16be']))}'", ()),
        (f"PRAGMA page_size = {draw(st.sampled_from([512, 1024, 4096, 65536]))}", ()),
        (f"PRAGMA auto_vacuum = {draw(st.integers(0, 2))}", ()),
        (f"PRAGMA user_version = {draw(st.integers(-(2**31), 2**31 - 1))}", ()),
        (f"PRAGMA application_id = {draw(st.integers(-(2**31), 2**31 - 1))}", ()),
        (MESSAGES, ()),
        (CARRYING, ()),
    ]
    for name in draw(st.lists(st.sampled_from(NAMES), min_size=1, max_size=4, unique=True)):
        kind = draw(st.sampled_from(sorted(TABLES)))
        table = quoted(name)
        steps.append((TABLES[kind].format(table), ()))
        keyed = "row ids" not in kind
        for key, a, b in draw(ROWS):
            names, marks, given_ = ("_rowid_, a, b", "?, ?, ?", (key, a, b)) if keyed else ("a, b", "?, ?", (a, b))
            steps.append((f"INSERT OR IGNORE INTO {table} ({names}) VALUES ({marks})", given_))
        plain = f"x{NAMES.index(name)}"
        steps += [(it.format(plain, table), ()) for it in draw(st.lists(st.sampled_from(EXTRAS), max_size=5))]
    steps += [("INSERT INTO messages VALUES (?, 'user', ?, ?)", it) for it in draw(ROWS)]
    return tuple(steps)


def made(path: Path, steps: Sequence[tuple[str, Sequence[Any]]]) -> None:
    with contextlib.closing(sqlite3.connect(path, isolation_level=None)) as connection:
        for statement, given_ in steps:
            with contextlib.suppress(sqlite3.Error):
                if given_:
                    connection.execute(statement, given_)
                else:
                    connection.executescript(statement)


def compared(steps: Sequence[tuple[str, Sequence[Any]]]) -> Copied:
    with tempfile.TemporaryDirectory() as folder:
        source, target = Path(folder) / "source.db", Path(folder) / "target.db"
        made(source, steps)
        before = source.read_bytes()
        done = copy_lean(source, target, deadline=60)
        assert (done.whole, [it.table for it in done.left_out]) == ("", ["fts"])
        assert source.read_bytes() == before
        assert described(target) == described(source, without=done.left_out)
        with contextlib.closing(sqlite3.connect(target)) as connection:
            assert connection.execute("PRAGMA integrity_check").fetchall()[0][0] in ("ok", *_known(connection))
        renewed = Path(folder) / "renewed.db"
        assert copy_renewed(source, renewed, deadline=60).renewed == ("fts",)
        assert described(renewed, without=done.left_out) == described(source, without=done.left_out)
        assert _indexed(renewed) == _indexed(source)
        return done


def _indexed(path: Path) -> list[tuple[Any, ...]]:
    """Return what the index holds and finds."""
    with contextlib.closing(sqlite3.connect(path)) as connection:
        connection.text_factory = bytes
        query = "SELECT rowid, content, rowid IN (SELECT rowid FROM fts WHERE fts MATCH 'found OR a OR x') FROM fts"
        return connection.execute(query).fetchall()


def _known(connection: sqlite3.Connection) -> list[str]:
    """Return what the check says of rows that their own table forbids: they were so before."""
    said = [row[0] for row in connection.execute("PRAGMA integrity_check(999)")]
    return said if all("CHECK" in it or "NULL value" in it or "non-unique" in it for it in said) else []


@settings(max_examples=60, deadline=None)
@given(scripts())
def test_any_schema(steps: Sequence[tuple[str, Sequence[Any]]]) -> None:
    compared(steps)


@pytest.mark.parametrize("kind", TABLES)
def test_a_table_of_each_kind(kind: str) -> None:
    given_ = [(-7, 3, "x"), (5, 2, None), (6, 1, b"\0" * 2000), (2, 4, 2.5)]
    names = "a, b" if "row ids" in kind else "_rowid_, a, b"
    table = quoted("the table")
    steps: list[tuple[str, Sequence[Any]]] = [(MESSAGES, ()), (CARRYING, ()), (TABLES[kind].format(table), ())]
    for row in given_:
        values = row[1:] if "row ids" in kind else row
        marks = ", ".join("?" * len(values))
        steps.append((f"INSERT OR IGNORE INTO {table} ({names}) VALUES ({marks})", values))
    done = compared([*steps, ("INSERT INTO messages VALUES (8, 'user', 'found', NULL)", ())])
    assert done.contents["the table"].rows >= 2
    assert done.left_out[0].rows == 1
