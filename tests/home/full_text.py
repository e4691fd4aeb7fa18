"""Databases with full-text tables, for the tests of what can be left out of a copy."""

from __future__ import annotations

import contextlib
import sqlite3
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from hermes_backup.home.derived import Kept, LeftOut, derived
from hermes_backup.home.facts import reading
from hermes_backup.home.schema import read_schema

MESSAGES = "CREATE TABLE messages (id INTEGER PRIMARY KEY, role TEXT, content TEXT, tool TEXT);"
CARRYING = """
CREATE VIRTUAL TABLE fts USING fts5(content);
CREATE TRIGGER fts_insert AFTER INSERT ON messages BEGIN
    INSERT INTO fts(rowid, content) VALUES (new.id, COALESCE(new.content, '') || ' ' || COALESCE(new.tool, ''));
END;
CREATE TRIGGER fts_delete AFTER DELETE ON messages BEGIN
    DELETE FROM fts WHERE rowid = old.id;
END;
CREATE TRIGGER fts_update AFTER UPDATE ON messages BEGIN
    DELETE FROM fts WHERE rowid = old.id;
    INSERT INTO fts(rowid, content) VALUES (new.id, COALESCE(new.content, '') || ' ' || COALESCE(new.tool, ''));
END;
"""
# as on hermes-agent's main branch: the trigger cuts what tools answer, a mark in another table says from when on
CUTTING = """
CREATE TABLE state_meta (key TEXT PRIMARY KEY, value TEXT);
CREATE VIRTUAL TABLE fts USING fts5(content, tool, content='messages', content_rowid='id');
CREATE TRIGGER fts_insert AFTER INSERT ON messages
WHEN (new.id > COALESCE((SELECT CAST(value AS INTEGER) FROM state_meta WHERE key = 'high_water'), -1)
   OR new.id <= COALESCE((SELECT CAST(value AS INTEGER) FROM state_meta WHERE key = 'progress'), -1))
BEGIN
    INSERT INTO fts(rowid, content, tool) VALUES (
        new.id, CASE WHEN new.role = 'tool' THEN substr(COALESCE(new.content, ''), 1, 12) ELSE new.content END, new.tool
    );
END;
CREATE TRIGGER fts_delete AFTER DELETE ON messages BEGIN
    INSERT INTO fts(fts, rowid, content, tool) VALUES ('delete', old.id, old.content, old.tool);
END;
"""
OVER_A_VIEW = """
CREATE VIEW spoken AS SELECT m.id, m.content FROM messages AS m WHERE m.role <> 'tool';
CREATE VIRTUAL TABLE fts USING fts5(content, content='spoken', content_rowid='id', tokenize='trigram');
CREATE TRIGGER fts_insert AFTER INSERT ON messages WHEN new.role <> 'tool' BEGIN
    INSERT INTO fts(rowid, content) VALUES (new.id, new.content);
END;
"""
ROWS = [
    (1, "user", "where is the blue lighthouse", None),
    (2, "tool", "the harbour and the lighthouse are closed", "search"),
    (5, "assistant", None, "weather"),
    (9, "user", "nüchtern 北京", ""),
]


def make(path: Path, *scripts: str, rows: Sequence[tuple[Any, ...]] = ROWS) -> Path:
    """Make a database whose triggers see every row of messages inserted."""
    with contextlib.closing(sqlite3.connect(path, isolation_level=None)) as connection:
        connection.execute("PRAGMA journal_mode=WAL")
        for script in (MESSAGES, *scripts):
            connection.executescript(script)
        connection.executemany("INSERT INTO messages VALUES (?, ?, ?, ?)", rows)
    return path


def change(path: Path, script: str) -> Path:
    with contextlib.closing(sqlite3.connect(path, isolation_level=None)) as connection:
        connection.executescript(script)
    return path


def judged(path: Path, table: str = "fts") -> LeftOut | Kept:
    with reading(path, alone=True) as connection:
        connection.execute("BEGIN")
        return {it.table: it for it in derived(connection, read_schema(connection))}[table]


def why(path: Path, table: str = "fts") -> str:
    """Return why a table is kept."""
    verdict = judged(path, table)
    assert isinstance(verdict, Kept), verdict
    return verdict.reason


def hits(path: Path, *words: str, table: str = "fts") -> list[list[int]]:
    with contextlib.closing(sqlite3.connect(path)) as connection:
        query = f"SELECT rowid FROM {table} WHERE {table} MATCH ? ORDER BY rowid"
        return [[row[0] for row in connection.execute(query, (f'"{it}"',))] for it in words]
