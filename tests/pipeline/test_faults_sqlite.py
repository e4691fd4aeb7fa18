"""Databases that are written to, locked, empty, torn or split while a whole pipeline runs over them."""

from __future__ import annotations

import os
import shutil
import signal
import sqlite3
from pathlib import Path

import pytest

from tests.home.making import count, make_database, next_line, running, writer
from tests.pipeline.ground import Ground, ground

__all__ = ["ground"]
_LOCKER = """
import sqlite3, sys
connection = sqlite3.connect(sys.argv[1], isolation_level=None)
connection.execute("BEGIN EXCLUSIVE")
print("locked", flush=True)
sys.stdin.read()
"""
_HOLDER = """
import os, sqlite3, sys
connection = sqlite3.connect(sys.argv[1], isolation_level=None)
connection.execute("INSERT INTO a (text) VALUES ('in the log')")
os.unlink(sys.argv[1] + "-wal")
os.unlink(sys.argv[1] + "-shm")
connection.execute("INSERT INTO a (text) VALUES ('in the lost log')")
print("split", flush=True)
sys.stdin.read()
"""


def whole(path: Path) -> bool:
    connection = sqlite3.connect(path)
    try:
        return connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
    finally:
        connection.close()


@pytest.mark.parametrize("pause", [0.1, 0.0], ids=["10 a second", "flat out"])
def test_a_writer_goes_on_and_the_copy_is_of_one_moment(ground: Ground, pause: float) -> None:
    site = ground.site
    make_database(site.home / "kanban.db", 5000)
    with writer(site.home / "kanban.db", pause=pause):
        before = count(site.home / "kanban.db", "a")
        status = site.run()
        after = count(site.home / "kanban.db", "a")
    assert (status.state, status.exit_code) == ("done", 0), status
    ground.check_clean()
    counts = {it.path: it.tables for it in ground.manifest().databases}
    assert counts["kanban.db"]["a"] == counts["kanban.db"]["b"]
    assert before <= counts["kanban.db"]["a"] <= after
    copied = ground.opened() / "kanban.db"
    assert whole(copied)
    assert count(copied, "a") == count(copied, "b") == counts["kanban.db"]["a"]
    ground.check_next()


def test_a_locked_database_is_named_and_the_others_are_fine(ground: Ground) -> None:
    site = ground.site
    make_database(site.home / "kanban.db", 50, journal="DELETE")
    with running(_LOCKER, site.home / "kanban.db") as locker:
        assert next_line(locker) == "locked"
        status = site.run()
    assert (status.state, status.exit_code) == ("partial", 4)
    assert [(it.path, "locked" in it.reason) for it in status.partial] == [("kanban.db", True)]
    assert any("kanban.db" in it for it in status.warnings)
    ground.check_clean()
    assert [it.path for it in ground.manifest().databases] == ["state.db"]
    tree = ground.opened()
    assert count(tree / "state.db", "messages") == 200
    assert (tree / "kanban.db").read_bytes() == (site.home / "kanban.db").read_bytes()
    ground.check_next()


def test_a_database_that_takes_too_long_is_named(ground: Ground) -> None:
    site = ground.site
    make_database(site.home / "kanban.db", 2000)
    stages = [{"sqlite": {"deadline": "0s"}}, *site.usual()[1:]]
    status = site.run(stages)
    assert (status.state, status.exit_code) == ("partial", 4)
    assert {it.path for it in status.partial} == {"kanban.db", "state.db"}
    assert all("deadline" in it.reason for it in status.partial)
    ground.check_clean()
    ground.check_next()


def test_a_database_without_bytes_is_told(ground: Ground) -> None:
    site = ground.site
    (site.home / "kanban.db").touch()
    (site.home / "some.db").touch()
    status = site.run()
    assert (status.state, status.exit_code) == ("partial", 4)
    assert [(it.path, it.reason) for it in status.partial] == [("kanban.db", "the database has no bytes")]
    tree = ground.opened()
    assert (tree / "kanban.db").stat().st_size == (tree / "some.db").stat().st_size == 0
    (site.home / "kanban.db").unlink()
    ground.check_next()


def test_what_a_killed_writer_had_committed_is_in_the_snapshot(ground: Ground) -> None:
    site = ground.site
    path = make_database(site.home / "kanban.db", 10)
    with writer(path, checkpoint=0) as process:
        for _ in range(20):
            acknowledged = int(next_line(process))
        process.send_signal(signal.SIGKILL)
        process.wait()
    log = path.with_name("kanban.db-wal").read_bytes()
    assert log
    status = site.run()
    assert (status.state, status.exit_code) == ("done", 0), status
    assert path.with_name("kanban.db-wal").read_bytes() == log, "the home is left as it was"
    tree = ground.opened()
    assert count(tree / "kanban.db", "a") >= 10 + acknowledged
    assert not list(tree.glob("kanban.db-*"))
    ground.check_next()


def test_a_process_that_writes_to_a_deleted_log_is_told(ground: Ground) -> None:
    site = ground.site
    path = make_database(site.home / "kanban.db", 10)
    with running(_HOLDER, path) as holder:
        assert next_line(holder) == "split"
        status = site.run()
        assert (status.state, status.exit_code) == ("partial", 4)
        (told,) = [it for it in status.partial if "split-brain" in it.reason]
        assert "kanban.db-wal" in told.path
        assert str(holder.pid) in told.reason
    ground.check_clean()
    ground.check_next()


def test_a_damaged_page_is_told_and_the_next_run_is_whole(ground: Ground) -> None:
    site = ground.site
    path = make_database(site.home / "kanban.db", 500)
    shutil.copy(path, ground.scratch.parent / f"{ground.scratch.name}.db")
    sound = Path(f"{ground.scratch}.db")
    with path.open("r+b") as file:
        file.seek(3 * 4096)
        file.write(b"\x55" * 4096)
    status = site.run()
    assert (status.state, status.exit_code) == ("partial", 4)
    assert [(it.path, "damaged" in it.reason) for it in status.partial] == [("kanban.db", True)]
    ground.check_clean()
    os.replace(sound, path)
    ground.check_next()
