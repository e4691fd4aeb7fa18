"""Absolute paths in a home's state that lead nowhere on this machine."""

from __future__ import annotations

import json
import os
import re
import sqlite3
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from hermes_backup.home.databases.facts import quoted, reading
from hermes_backup.home.printable import printable

_TELLING = re.compile(r"(?:^|_)(?:cwd|path|dir|directory|workdir|root|script)$")
_JOBS = "cron/jobs.json"
_AT_MOST = 20
_LONGEST = 10_000_000  # characters; a longer one is no JSON then


def absent_paths(home: Path, databases: tuple[str, ...]) -> tuple[str, ...]:
    """Return absolute paths that columns such as ``cwd`` and ``workspace_path``, and cron jobs, name and nobody has.

    At most so many as a person reads. A database that cannot be asked is passed over: it was checked before.
    """
    found: dict[str, None] = {}
    for said in (*_of_jobs(home / _JOBS), *(it for name in databases for it in _of_database(home / name))):
        if said.startswith("/") and "\0" not in said and not os.path.lexists(said):
            found[printable(os.fsencode(said))] = None
        if len(found) == _AT_MOST:
            break
    return tuple(found)


def _of_jobs(file: Path) -> Iterator[str]:
    try:
        descriptor = os.open(file, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
        with os.fdopen(descriptor, encoding="utf-8") as text:
            if stat.S_ISREG(os.fstat(descriptor).st_mode):
                yield from _texts(json.loads(text.read(_LONGEST)))
    except (OSError, ValueError, RecursionError):
        return


def _texts(value: Any, telling: bool = False) -> Iterator[str]:
    if isinstance(value, dict):
        for name, item in value.items():
            yield from _texts(item, _TELLING.search(str(name)) is not None)
    elif isinstance(value, list):
        for item in value:
            yield from _texts(item, telling)
    elif isinstance(value, str) and telling:
        yield value


def _of_database(file: Path) -> Iterator[str]:
    try:
        with reading(file, alone=True) as connection:
            tables = connection.execute("SELECT name FROM sqlite_master WHERE type = 'table' AND rootpage").fetchall()
            for (table,) in tables:
                yield from _of_table(connection, table)
    except sqlite3.Error:
        return


def _of_table(connection: sqlite3.Connection, table: str) -> Iterator[str]:
    for _, column, *_ in connection.execute(f"PRAGMA table_info({quoted(table)})").fetchall():
        if _TELLING.search(column):
            name = quoted(column)
            query = f"SELECT DISTINCT {name} FROM {quoted(table)} WHERE {name} LIKE '/%' LIMIT {_AT_MOST * 10}"  # noqa: S608 - names that SQLite itself gave
            yield from (it for (it,) in connection.execute(query) if isinstance(it, str))
