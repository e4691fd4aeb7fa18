"""Does what came back equal what was backed up: every message, every file beside the database."""

from __future__ import annotations

import contextlib
import hashlib
import sqlite3
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

_DATABASE, _ONE = "state.db", "SOUL.md"
_KEPT = (_ONE, "memories", "skills", "workspace", "cache/images")
_MESSAGES = "SELECT id, session_id, role, content, tool_name, timestamp FROM messages ORDER BY id"
_HITS = "SELECT count(*) FROM messages_fts WHERE messages_fts MATCH 'the'"


@dataclass(frozen=True)
class Proof:
    """What a home holds: its messages, a hash over them, what a search finds, and how often each file's bytes."""

    messages: int
    digest: str
    hits: int
    files: Counter[str]
    one: str

    @classmethod
    def of(cls, home: Path) -> Proof:
        """Read a home that nobody writes to."""
        chosen = [it for name in _KEPT for it in (home / name, *(home / name).rglob("*"))]
        files = Counter(_hash(it) for it in chosen if it.is_file())
        return cls(*_messages(home / _DATABASE), _hits(home / _DATABASE), files, _hash(home / _ONE))

    def demand(self, back: Path, who: str, *, indexes: bool) -> None:
        """Compare what came back; ``indexes`` says whether searches must find the same, too.

        Raises:
            SystemExit: it is something else.
        """
        databases = list(back.rglob(_DATABASE))
        if len(databases) != 1:
            raise SystemExit(f"bench: {who} brought back {len(databases)} databases and not 1")
        found = _messages(databases[0])
        if found != (self.messages, self.digest):
            raise SystemExit(f"bench: {who} brought back {found[0]} messages and not these {self.messages}, or others")
        if indexes and _hits(databases[0]) != self.hits:
            raise SystemExit(f"bench: {who} brought back messages that a search does not find")
        missing = self.files - Counter(_hash(it) for it in back.rglob("*") if it.is_file() and it != databases[0])
        if missing:
            raise SystemExit(f"bench: {who} did not bring back {missing.total()} of {self.files.total()} files")

    def demand_one(self, back: Path, who: str) -> None:
        """Compare the one file that came back, and make sure that it is alone.

        Raises:
            SystemExit: it is something else.
        """
        if [_hash(it) for it in back.rglob("*") if it.is_file()] != [self.one]:
            raise SystemExit(f"bench: {who} did not bring back exactly {_ONE}")


def _messages(database: Path) -> tuple[int, str]:
    digest, count = hashlib.sha256(), 0
    with contextlib.closing(_opened(database)) as connection:
        for row in connection.execute(_MESSAGES):
            digest.update(repr(row).encode("utf-8", "surrogatepass"))
            count += 1
    return count, digest.hexdigest()


def _hits(database: Path) -> int:
    with contextlib.closing(_opened(database)) as connection:
        (count,) = connection.execute(_HITS).fetchone()
    return int(count)


def _opened(database: Path) -> sqlite3.Connection:
    return sqlite3.connect(f"{database.absolute().as_uri()}?mode=ro", uri=True)


def _hash(file: Path) -> str:
    with file.open("rb") as data:
        return hashlib.file_digest(data, "sha256").hexdigest()
