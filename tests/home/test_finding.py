"""Which files are databases, and which should have been."""

from __future__ import annotations

import os
import sqlite3
from pathlib import Path

import pytest

from hermes_backup.home.databases.finding import Found
from hermes_backup.home.selection import Rules
from tests.held import find, select
from tests.home.making import make_database, writer


@pytest.fixture
def home(tmp_path: Path) -> Path:
    (tmp_path / "SOUL.md").write_text("I am.")
    return tmp_path


def found(home: Path, rules: Rules | None = None) -> dict[bytes, tuple[str, str]]:
    seen = find(home, select(home, rules or Rules()))
    assert seen == tuple(sorted(seen, key=lambda one: one.name))
    return {one.name: (one.kind, one.journal) for one in seen}


def leave_a_log(path: Path) -> None:
    make_database(path)
    with writer(path, checkpoint=0) as process:
        process.kill()
        process.wait()


def test_databases_are_told_by_their_header_whatever_their_name(home: Path) -> None:
    (home / "profiles/x").mkdir(parents=True)
    make_database(home / "state.db")
    make_database(home / "profiles/x/state.db", journal="DELETE")
    make_database(home / "no suffix\n")
    make_database(home / "plain").rename(os.fsdecode(os.fsencode(home) + b"/caf\xe9"))
    (home / "notes.db").write_text("not a database, and nobody said so")
    (home / "link.db").symlink_to("state.db")
    assert found(home) == {
        b"caf\xe9": ("live", "wal"),
        b"no suffix\n": ("live", "wal"),
        b"profiles/x/state.db": ("live", "rollback"),
        b"state.db": ("live", "wal"),
    }


def test_a_link_that_takes_a_files_place_is_not_followed(home: Path) -> None:
    make_database(home / "state.db")
    chosen = select(home, Rules())
    (home / "state.db").rename(home.parent / "elsewhere.db")
    (home / "state.db").symlink_to(home.parent / "elsewhere.db")
    assert find(home, chosen) == ()


def test_a_pipe_that_takes_a_files_place_does_not_stop_us(home: Path) -> None:
    make_database(home / "state.db")
    chosen = select(home, Rules())
    (home / "state.db").unlink()
    os.mkfifo(home / "state.db")
    assert find(home, chosen) == ()


def test_a_log_without_its_database(home: Path) -> None:
    (home / "kanban/boards/a").mkdir(parents=True)
    for name in ("state.db", "kanban/boards/a/kanban.db", "own.sqlite"):
        leave_a_log(home / name)
        (home / name).unlink()
    (home / "notes-wal").write_text("a file that happens to be called so")
    (home / "folder-wal").mkdir()
    (home / "projects.db-wal").write_text("")
    assert found(home) == {
        b"kanban/boards/a/kanban.db-wal": ("orphan-wal", "wal"),
        b"own.sqlite-wal": ("orphan-wal", "wal"),
        b"state.db-wal": ("orphan-wal", "wal"),
    }


def test_a_log_whose_database_is_excluded_is_no_orphan(home: Path) -> None:
    leave_a_log(home / "projects.db")
    assert found(home, Rules(patterns=("/projects.db", "*-wal", "*-shm"))) == {}


def test_damaged_ones(home: Path) -> None:
    (home / "profiles/x").mkdir(parents=True)
    for name in ("state.db", "profiles/x/kanban.db"):
        (home / name).write_bytes(b"\0" * 5000)
    leave_a_log(home / "mine")
    with (home / "mine").open("r+b") as file:
        file.write(b"\0" * 16)
    assert found(home) == {
        b"mine": ("damaged", "unknown"),
        b"profiles/x/kanban.db": ("damaged", "unknown"),
        b"state.db": ("damaged", "unknown"),
    }


def test_empty_ones(home: Path) -> None:
    (home / "state.db").touch()
    (home / "other.db").touch()
    leave_a_log(home / "mine")
    os.truncate(home / "mine", 0)
    assert found(home) == {b"mine": ("damaged", "unknown"), b"state.db": ("empty", "unknown")}


def test_finding_leaves_no_trace_and_sees_a_database_in_use(home: Path) -> None:
    source = make_database(home / "state.db")
    reader = sqlite3.connect(source)
    reader.execute("SELECT count(*) FROM a").fetchone()
    before = sorted(home.iterdir())
    assert find(home, select(home, Rules())) == (Found(b"state.db", "live", "wal"),)
    assert sorted(home.iterdir()) == before
    reader.close()
