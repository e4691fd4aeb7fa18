"""Databases, writers and onlookers for the tests of this room."""

from __future__ import annotations

import contextlib
import hashlib
import os
import sqlite3
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest


def make_database(path: Path, rows: int = 500, *, journal: str = "WAL", page_size: int = 4096) -> Path:
    """Make a database whose tables ``a`` and ``b`` always have equally many rows, and close it."""
    connection = sqlite3.connect(path, isolation_level=None)
    connection.execute(f"PRAGMA page_size={page_size}")
    connection.execute(f"PRAGMA journal_mode={journal}")
    connection.executescript(
        "CREATE TABLE a (id INTEGER PRIMARY KEY, text TEXT); CREATE TABLE b (id INTEGER PRIMARY KEY, text TEXT);"
        "CREATE INDEX by_text ON a (text); CREATE VIEW both AS SELECT * FROM a JOIN b USING (id);"
        "CREATE VIRTUAL TABLE found USING fts5 (text);"
    )
    texts = [(f"the text of row {number} " + "x" * (number * 7 % 300),) for number in range(rows)]
    connection.execute("BEGIN")
    for table in ("a", "b"):
        connection.executemany(f"INSERT INTO {table} (text) VALUES (?)", texts)
    connection.executemany("INSERT INTO found (text) VALUES (?)", texts[:50])
    connection.execute("COMMIT")
    connection.close()
    return path


_WRITER = """
import sqlite3, sys, time
connection = sqlite3.connect(sys.argv[1], isolation_level=None)
connection.execute("PRAGMA synchronous=OFF")
connection.execute(f"PRAGMA wal_autocheckpoint={sys.argv[3]}")
number = 0
while True:
    number += 1
    connection.execute("BEGIN IMMEDIATE")
    for table in "ab":
        connection.execute(f"INSERT INTO {table} (text) VALUES (?)", (f"written {number}",))
    connection.execute("COMMIT")
    print(number, flush=True)
    time.sleep(float(sys.argv[2]))
"""


@contextlib.contextmanager
def running(code: str, *arguments: str | Path, prefix: Sequence[str] = ()) -> Iterator[subprocess.Popen[str]]:
    """Run Python code beside the test; it is killed at the end."""
    with subprocess.Popen(
        [*prefix, sys.executable, "-c", code, *map(str, arguments)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
    ) as process:
        try:
            yield process
        finally:
            process.kill()
            with contextlib.suppress(BrokenPipeError):
                process.communicate()


def where_mounting_works() -> list[str]:
    """Return the start of an argv whose process may mount for itself alone; skip the test where none may."""
    prefix = ["unshare", "--user", "--map-root-user", "--mount"]
    try:
        said = subprocess.run([*prefix, "mount", "-t", "tmpfs", "tmpfs", "/mnt"], capture_output=True, check=False)
    except FileNotFoundError:
        pytest.skip("util-linux is not installed, so nothing can be mounted")
    if said.returncode:
        pytest.skip(f"nothing can be mounted here: {said.stderr.decode().strip()}")
    return prefix


@contextlib.contextmanager
def writer(path: Path, *, pause: float = 0.0, checkpoint: int = 1000) -> Iterator[subprocess.Popen[str]]:
    """Append a row to each table again and again; every number printed is a transaction acknowledged."""
    with running(_WRITER, path, str(pause), str(checkpoint)) as process:
        assert next_line(process) == "1"
        yield process


def next_line(process: subprocess.Popen[str]) -> str:
    assert process.stdout is not None
    return process.stdout.readline().strip()


def drain(process: subprocess.Popen[str]) -> list[str]:
    """Return what a killed process has printed and nobody has read."""
    assert process.stdout is not None
    return process.stdout.read().split()


def fingerprint(folder: Path, *, but: tuple[str, ...] = ()) -> dict[bytes, tuple[object, ...]]:
    """Describe everything in a folder: times, sizes, content; ``but`` names files whose content may change."""
    seen: dict[bytes, tuple[object, ...]] = {}
    for path in [folder, *sorted(folder.rglob("*"))]:
        status = path.lstat()
        known: tuple[object, ...] = (status.st_mode, status.st_ino, status.st_uid)
        if path.name not in but:
            content = hashlib.sha256(path.read_bytes()).hexdigest() if path.is_file() else ""
            known += (status.st_size, status.st_mtime_ns, content)
        seen[os.fsencode(path)] = known
    return seen


def count(path: Path, table: str) -> int:
    connection = sqlite3.connect(path)
    try:
        (rows,) = connection.execute(f"SELECT count(*) FROM {table}").fetchone()
    finally:
        connection.close()
    return int(rows)
