"""A small Hermes home to try things on: every class of file that a real one has, and no agent needed to make it."""

from __future__ import annotations

import contextlib
import json
import random
import sqlite3
from typing import TYPE_CHECKING

from hermes_backup.home.sample_text import conversation, title

if TYPE_CHECKING:
    from pathlib import Path

_SESSIONS = 30
_MESSAGES = 40
_BEGAN = 1_760_000_000.0  # 9 October 2025
_DAY = 86_400.0

# A part of hermes-agent 0.19.0's schema, with its names.
_STATE = """
CREATE TABLE schema_version (version INTEGER NOT NULL);
INSERT INTO schema_version VALUES (22);
CREATE TABLE sessions (
    id TEXT PRIMARY KEY, source TEXT NOT NULL, model TEXT, system_prompt TEXT, started_at REAL NOT NULL,
    ended_at REAL, end_reason TEXT, message_count INTEGER DEFAULT 0, cwd TEXT, title TEXT
);
CREATE TABLE messages (
    id INTEGER PRIMARY KEY AUTOINCREMENT, session_id TEXT NOT NULL REFERENCES sessions(id), role TEXT NOT NULL,
    content TEXT, tool_name TEXT, timestamp REAL NOT NULL, token_count INTEGER
);
CREATE TABLE state_meta (key TEXT PRIMARY KEY, value TEXT);
CREATE INDEX idx_sessions_started ON sessions(started_at DESC);
CREATE INDEX idx_messages_session ON messages(session_id, timestamp);
CREATE VIRTUAL TABLE messages_fts USING fts5(content);
CREATE TRIGGER messages_fts_insert AFTER INSERT ON messages BEGIN
    INSERT INTO messages_fts(rowid, content) VALUES (new.id, new.content || ' ' || COALESCE(new.tool_name, ''));
END;
"""
_KANBAN = """
CREATE TABLE tasks (
    id TEXT PRIMARY KEY, title TEXT NOT NULL, body TEXT, status TEXT NOT NULL, created_at INTEGER NOT NULL
);
INSERT INTO tasks VALUES
    ('t_01', 'Water the plants', 'Twice a week, the basil daily.', 'ready', 1760000000),
    ('t_02', 'Write the talk', 'Twenty minutes, no slides.', 'running', 1760086400),
    ('t_03', 'Renew the passport', NULL, 'done', 1760172800);
"""

_TEXTS = {
    "SOUL.md": "# Who I am\n\nI am Hermes. I am calm, I say what I do not know, and I measure before I claim.\n",
    "memories/MEMORY.md": "The staging host is reached through the jump host.\n§\nTests run with `make check`.\n§\n"
    "The garden is watered on Mondays.\n",
    "memories/USER.md": "Prefers short answers and metric units.\n§\nWorks from 9 to 17, Lisbon time.\n",
    "config.yaml": "model:\n  default: example/model\n  provider: openrouter\nterminal:\n  backend: local\n",
    "skills/weather/SKILL.md": "---\nname: weather\ndescription: Tell the weather of a town\n---\n\n# Weather\n\n"
    "Run `scripts/weather.sh TOWN`.\n",
    "skills/weather/scripts/weather.sh": '#!/bin/sh\necho "In ${1:-town} it is sunny, probably."\n',
    "skills/minutes/SKILL.md": "---\nname: minutes\ndescription: Turn a meeting's notes into minutes\n---\n\n"
    "# Minutes\n\nDecisions first, then who does what by when.\n",
    "cron/jobs.json": json.dumps(
        {"jobs": [{"id": "a1b2c3", "name": "morning", "prompt": "Say good morning", "schedule": "0 7 * * *"}]}, indent=2
    ),
    "workspace/site/index.html": "<!doctype html>\n<title>Hello</title>\n<h1>Hello</h1>\n",
    "profiles/research/SOUL.md": "# Who I am\n\nI read papers and doubt them.\n",
    "profiles/research/memories/MEMORY.md": "Preprints are marked as such.\n",
    "profiles/research/config.yaml": "model:\n  default: example/reader\n",
}  # fmt: skip
_SECRETS = {
    ".env": "OPENROUTER_API_KEY=example-not-a-real-key\nTELEGRAM_BOT_TOKEN=000000:example-not-a-real-token\n",
    "auth.json": json.dumps({"version": 1, "providers": {"nous": {"access_token": "example-not-a-real-token"}}}),
    "profiles/research/.env": "OPENROUTER_API_KEY=example-not-a-real-key-either\n",
}
_VOLATILE = ("gateway.pid", "auth.lock", "cron/.tick.lock", "memories/MEMORY.md.lock")
_BALLAST = {
    "logs/agent.log": 3 << 20,
    "logs/gateway.log": 1 << 20,
    "cache/http/responses.bin": 3 << 20,
    "skills/minutes/node_modules/left-pad/index.js": 1 << 20,
    "hermes-agent/run_agent.py": 1 << 19,
}
_DOCUMENTS = {"cache/images/sunset.jpg": 300_000, "cache/documents/invoice.pdf": 120_000}


def make_sample(root: Path) -> None:
    """Make the sample home, about 12 MB, in a folder that is empty or not there; the same bytes each time.

    Raises:
        FileExistsError: the folder holds something.
    """
    root.mkdir(parents=True, exist_ok=True, mode=0o700)
    if any(root.iterdir()):
        raise FileExistsError(f"{root} is not empty")
    for name, text in _TEXTS.items():
        _write(root / name, text.encode())
    for name, text in _SECRETS.items():
        _write(root / name, text.encode(), mode=0o600)
    for name in _VOLATILE:
        _write(root / name, b"")
    for name, size in {**_BALLAST, **_DOCUMENTS}.items():
        _write(root / name, _noise(name, size) if name in _DOCUMENTS else _log_lines(size))
    (root / "skills/weather/scripts/weather.sh").chmod(0o755)
    (root / "workspace/latest").symlink_to("site")
    (root / "hooks").mkdir()
    _make_database(root / "kanban.db", _KANBAN)
    _make_database(root / "state.db", _STATE, sessions=range(_SESSIONS))
    _make_database(root / "profiles/research/state.db", _STATE, sessions=range(100, 104))


def _write(path: Path, data: bytes, *, mode: int = 0o644) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.touch(mode=mode)
    path.write_bytes(data)
    path.chmod(mode)


def _noise(seed: str, size: int) -> bytes:
    return random.Random(seed).randbytes(size)  # noqa: S311 - a picture's bytes, not secrets


def _log_lines(size: int) -> bytes:
    lines = b"".join(b"2025-10-09 03:%02d:%02d INFO all is well\n" % divmod(second, 60) for second in range(3600))
    return (lines * (size // len(lines) + 1))[:size]


def _make_database(path: Path, schema: str, sessions: range = range(0)) -> None:
    with contextlib.closing(sqlite3.connect(path, isolation_level=None)) as connection:
        connection.execute("PRAGMA journal_mode=WAL")
        connection.execute("PRAGMA synchronous=OFF")
        connection.executescript(f"BEGIN; {schema} COMMIT;")
        connection.execute("BEGIN")
        for number in sessions:
            _add_session(connection, number)
        connection.execute("COMMIT")


def _add_session(connection: sqlite3.Connection, number: int) -> None:
    session = f"20251009_{number:06d}"
    began = _BEGAN + number * _DAY
    connection.execute(
        "INSERT INTO sessions VALUES (?, 'telegram', 'example/model', 'You are Hermes.', ?, ?, 'user_exit', ?, ?, ?)",
        (session, began, began + 60.0 * _MESSAGES, _MESSAGES, "/srv/hermes/workspace", title(number)),
    )
    connection.executemany(
        "INSERT INTO messages (session_id, role, content, tool_name, timestamp, token_count) VALUES (?, ?, ?, ?, ?, ?)",
        [
            (session, said.role, said.text, said.tool, began + 60.0 * index, len(said.text) // 4)
            for index, said in enumerate(conversation(number, _MESSAGES))
        ],
    )
