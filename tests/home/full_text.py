"""Databases with full-text tables, for the tests of what can be left out of a copy."""

from __future__ import annotations

import contextlib
import re
import sqlite3
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from hermes_backup.home.databases.derived import Kept, LeftOut, derived
from hermes_backup.home.databases.facts import reading
from hermes_backup.home.databases.schema import read_schema

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
# as hermes-agent had it in between: the trigger cuts what tools answer, a mark in another table says from when on
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
# as on hermes-agent's main branch: each index reads a view, and one of these asks what a session is for; triggers pass
# over rows that an index which is being made anew has yet to reach, and one of them inserts by SELECT
_REACHED = """({0}.id > COALESCE((SELECT CAST(value AS INTEGER) FROM state_meta WHERE key = 'high_water'), -1)
   OR {0}.id <= COALESCE((SELECT CAST(value AS INTEGER) FROM state_meta WHERE key = 'progress'), -1))"""
_SPOKEN = """{0}source NOT IN ('cron', 'subagent') AND json_extract(
    (CASE WHEN json_valid({0}config) THEN {0}config ELSE json_object() END), '$._delegate_from') IS NULL"""
_OWN = f"EXISTS (SELECT 1 FROM sessions WHERE id = {{0}}.session AND {_SPOKEN.format('')})"
_CUT = "CASE WHEN {0}role = 'tool' THEN substr(COALESCE({0}content, ''), 1, 12) ELSE {0}content END"
JOINING = f"""
CREATE TABLE state_meta (key TEXT PRIMARY KEY, value TEXT);
CREATE TABLE sessions (id TEXT PRIMARY KEY, source TEXT NOT NULL, config TEXT);
INSERT INTO sessions VALUES ('talk', 'cli', '{{"model": "a"}}'), ('nightly', 'cron', NULL),
    ('helper', 'cli', '{{"_delegate_from": "talk"}}'), ('odd', 'telegram', 'no JSON');
ALTER TABLE messages ADD COLUMN session TEXT NOT NULL DEFAULT 'talk' REFERENCES sessions(id);

CREATE VIEW indexed AS SELECT id, {_CUT.format("")} AS content, tool FROM messages;
CREATE VIRTUAL TABLE fts USING fts5(content, tool, content='indexed', content_rowid='id');
CREATE TRIGGER fts_insert AFTER INSERT ON messages
WHEN {_REACHED.format("new")}
BEGIN
    INSERT INTO fts(rowid, content, tool) VALUES (new.id, {_CUT.format("new.")}, new.tool);
END;
CREATE TRIGGER fts_delete AFTER DELETE ON messages
WHEN {_REACHED.format("old")}
BEGIN
    INSERT INTO fts(fts, rowid, content, tool) VALUES ('delete', old.id, {_CUT.format("old.")}, old.tool);
END;
CREATE TRIGGER fts_update AFTER UPDATE OF content, tool, role ON messages
WHEN (old.content IS NOT new.content OR old.tool IS NOT new.tool OR old.role IS NOT new.role)
   AND {_REACHED.format("old")}
BEGIN
    INSERT INTO fts(fts, rowid, content, tool) VALUES ('delete', old.id, {_CUT.format("old.")}, old.tool);
    INSERT INTO fts(rowid, content, tool) VALUES (new.id, {_CUT.format("new.")}, new.tool);
END;

CREATE VIEW spoken AS SELECT m.id, m.role, m.content, m.tool FROM messages AS m JOIN sessions AS s ON s.id = m.session
    WHERE m.role <> 'tool' AND {_SPOKEN.format("s.")};
CREATE VIRTUAL TABLE fts_trigram USING fts5(
    content, tool, content='spoken', content_rowid='id', tokenize='trigram'
);
CREATE TRIGGER fts_trigram_insert AFTER INSERT ON messages
WHEN new.role <> 'tool' AND {_OWN.format("new")} AND {_REACHED.format("new")}
BEGIN
    INSERT INTO fts_trigram(rowid, content, tool) VALUES (new.id, new.content, new.tool);
END;
CREATE TRIGGER fts_trigram_delete AFTER DELETE ON messages
WHEN old.role <> 'tool' AND {_OWN.format("old")} AND {_REACHED.format("old")}
BEGIN
    INSERT INTO fts_trigram(fts_trigram, rowid, content, tool) VALUES ('delete', old.id, old.content, old.tool);
END;
CREATE TRIGGER fts_trigram_update AFTER UPDATE OF content, tool, role ON messages
WHEN (old.content IS NOT new.content OR old.tool IS NOT new.tool OR old.role IS NOT new.role)
   AND {_REACHED.format("old")}
BEGIN
    INSERT INTO fts_trigram(fts_trigram, rowid, content, tool) SELECT 'delete', old.id, old.content, old.tool
        WHERE old.role <> 'tool' AND {_OWN.format("old")};
    INSERT INTO fts_trigram(rowid, content, tool) SELECT new.id, new.content, new.tool
        WHERE new.role <> 'tool' AND {_OWN.format("new")};
END;

INSERT INTO messages VALUES
    (3, 'assistant', 'the lighthouse was dark at night', NULL, 'nightly'),
    (4, 'assistant', 'a lighthouse keeper was asked', 'search', 'helper'),
    (6, 'user', '会議は来週まで at the lighthouse', NULL, 'odd'),
    (7, 'tool', 'closed until the harbour is open', 'weather', 'talk');
"""
SCRIPTS = {"carrying": CARRYING, "cutting": CUTTING, "over a view": OVER_A_VIEW, "joining": JOINING}
ROWS = [
    (1, "user", "where is the blue lighthouse", None),
    (2, "tool", "the harbour and the lighthouse are closed", "search"),
    (5, "assistant", None, "weather"),
    (9, "user", "nüchtern 北京", ""),
]


def tables_of(script: str) -> list[str]:
    """Return the full-text tables that a script makes, in order."""
    return re.findall(r"CREATE VIRTUAL TABLE (\w+)", script)


def make(path: Path, *scripts: str, rows: Sequence[tuple[Any, ...]] = ROWS) -> Path:
    """Make a database whose triggers see every row of messages inserted."""
    with contextlib.closing(sqlite3.connect(path, isolation_level=None)) as connection:
        connection.execute("PRAGMA journal_mode=WAL")
        for script in (MESSAGES, *scripts):
            connection.executescript(script)
        connection.executemany("INSERT INTO messages (id, role, content, tool) VALUES (?, ?, ?, ?)", rows)
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
