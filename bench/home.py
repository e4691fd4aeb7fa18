"""The benchmark's Hermes home: a ``state.db`` of a given size, with hermes-agent 0.19.0's tables, and more."""

from __future__ import annotations

import contextlib
import itertools
import json
import random
import shutil
import sqlite3
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

from bench.text import Text

_VERSION = 1  # of what is built here; a home of another version is built anew
_BATCH = 2_000  # messages
_SESSION = 60  # messages
_WORKSPACE_FILES = 300
_PICTURES = 12

# The tables, triggers and indexes of hermes-agent 0.19.0's state.db that hold nearly all of its bytes: each
# message's text lies in ``messages`` and again in both search tables, which keep their own content.
_SCHEMA = """
CREATE TABLE schema_version (version INTEGER NOT NULL);
INSERT INTO schema_version VALUES (22);
CREATE TABLE sessions (
    id TEXT PRIMARY KEY, source TEXT NOT NULL, model TEXT, system_prompt TEXT, started_at REAL NOT NULL,
    ended_at REAL, message_count INTEGER DEFAULT 0, cwd TEXT, title TEXT
);
CREATE TABLE messages (
    id INTEGER PRIMARY KEY AUTOINCREMENT, session_id TEXT NOT NULL REFERENCES sessions(id), role TEXT NOT NULL,
    content TEXT, tool_call_id TEXT, tool_calls TEXT, tool_name TEXT, timestamp REAL NOT NULL, token_count INTEGER,
    finish_reason TEXT, reasoning TEXT, observed INTEGER DEFAULT 0, active INTEGER NOT NULL DEFAULT 1
);
CREATE TABLE state_meta (key TEXT PRIMARY KEY, value TEXT);
CREATE INDEX idx_sessions_started ON sessions(started_at DESC);
CREATE INDEX idx_messages_session ON messages(session_id, timestamp);
CREATE INDEX idx_messages_session_active ON messages(session_id, active, timestamp);
CREATE VIRTUAL TABLE messages_fts USING fts5(content);
CREATE TRIGGER messages_fts_insert AFTER INSERT ON messages BEGIN
    INSERT INTO messages_fts(rowid, content) VALUES (
        new.id,
        COALESCE(new.content, '') || ' ' || COALESCE(new.tool_name, '') || ' ' || COALESCE(new.tool_calls, '')
    );
END;
CREATE VIRTUAL TABLE messages_fts_trigram USING fts5(content, tokenize='trigram');
CREATE TRIGGER messages_fts_trigram_insert AFTER INSERT ON messages BEGIN
    INSERT INTO messages_fts_trigram(rowid, content) VALUES (
        new.id,
        COALESCE(new.content, '') || ' ' || COALESCE(new.tool_name, '') || ' ' || COALESCE(new.tool_calls, '')
    );
END;
"""
_INSERT = """
INSERT INTO messages (session_id, role, content, tool_name, timestamp, token_count) VALUES (?, ?, ?, ?, ?, ?)
"""
_SIZES = {"user": (40, 600), "assistant": (200, 3_000), "tool": (300, 8_000)}  # characters

_Row = tuple[str, str, str, str | None, float, int]


@dataclass(frozen=True)
class Built:
    """A home that was built: what it holds. Sizes in bytes, text in characters."""

    version: int
    database: int
    messages: int
    text: int
    permuted: int


def build(folder: Path, size: int, say: Callable[[str], None]) -> Built:
    """Make a home in ``folder`` whose database has ``size`` bytes; one that is there already is kept."""
    about = folder.with_name(f"{folder.name}.json")
    if about.is_file():
        known = Built(**json.loads(about.read_text(encoding="utf-8")))
        if known.version == _VERSION and (folder / "state.db").is_file():
            return known
    say(f"building a home with a state.db of {size >> 20} MiB; it is kept in {folder.parent}")
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True, mode=0o700)
    text = Text()
    lines = text.lines()
    _write_files(folder, lines)
    messages = _write_database(folder / "state.db", size, lines)
    built = Built(_VERSION, (folder / "state.db").stat().st_size, messages, text.own, text.permuted)
    about.write_text(json.dumps(asdict(built)) + "\n", encoding="utf-8")
    return built


def _write_files(folder: Path, lines: Iterator[str]) -> None:
    """Write what else a home has: a persona, memories, skills, a workspace, pictures that do not compress."""
    chance = random.Random("files")
    names = ["SOUL.md", "memories/MEMORY.md", "memories/USER.md", "config.yaml"]
    names += [f"skills/skill-{it}/SKILL.md" for it in range(20)]
    names += [f"workspace/project-{it % 12}/notes-{it:03d}.md" for it in range(_WORKSPACE_FILES)]
    for name in names:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(_piece(lines, chance.randint(1_000, 30_000)), encoding="utf-8")
    for number in range(_PICTURES):
        path = folder / f"cache/images/{number:02d}.jpg"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(chance.randbytes(300_000))


def _write_database(path: Path, size: int, lines: Iterator[str]) -> int:
    written = 0
    rows = _rows(lines)
    with contextlib.closing(sqlite3.connect(path, isolation_level=None)) as connection:
        connection.executescript(
            "PRAGMA page_size=4096; PRAGMA journal_mode=OFF; PRAGMA synchronous=OFF; PRAGMA cache_size=-400000;"
        )
        connection.executescript(_SCHEMA)
        while _bytes_of(connection) < size:
            batch = list(itertools.islice(rows, _BATCH))
            connection.execute("BEGIN")
            connection.executemany(
                "INSERT OR IGNORE INTO sessions (id, source, started_at, title) VALUES (?, 'telegram', ?, ?)",
                [(row[0], row[4], row[2][:60]) for row in batch if row[1] == "user"],
            )
            connection.executemany(_INSERT, batch)
            connection.execute("COMMIT")
            written += len(batch)
        connection.execute("PRAGMA journal_mode=WAL")
    return written


def _bytes_of(connection: sqlite3.Connection) -> int:
    (pages,) = connection.execute("PRAGMA page_count").fetchone()
    return int(pages) * 4096


def _rows(lines: Iterator[str]) -> Iterator[_Row]:
    chance = random.Random("messages")
    began = 1_760_000_000.0
    for number in itertools.count():
        role = ("user", "assistant", "tool", "assistant")[number % 4]
        text = _piece(lines, chance.randint(*_SIZES[role]))
        tool = chance.choice(("terminal", "read_file", "web_search")) if role == "tool" else None
        yield f"20251009_{number // _SESSION:08d}", role, text, tool, began + 7.0 * number, len(text) // 4


def _piece(lines: Iterator[str], size: int) -> str:
    """Take lines until there are about so many characters; a very long line is cut."""
    taken: list[str] = []
    length = 0
    while length < size:
        line = next(lines)[: 2 * size]
        taken.append(line)
        length += len(line)
    return "".join(taken)


_HOLD = """
import sqlite3, sys
connection = sqlite3.connect(sys.argv[1], isolation_level=None)
connection.execute("PRAGMA journal_mode=WAL")
connection.execute("INSERT OR REPLACE INTO state_meta VALUES ('bench', 'open')")
print("open", flush=True)
sys.stdin.read()
"""


@contextlib.contextmanager
def held_open(database: Path) -> Iterator[int]:
    """Keep the database open in another process, as a gateway does: in WAL mode and idle; gives its pid."""
    argv = [sys.executable, "-c", _HOLD, str(database)]
    with subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as holder:
        if holder.stdout is None or holder.stdout.readline() != b"open\n":
            raise SystemExit(f"bench: {database} cannot be opened")
        yield holder.pid
