"""Copies of databases that are quiet, busy, left behind by a crash, or locked."""

from __future__ import annotations

import contextlib
import os
import signal
import sqlite3
import threading
import time
from pathlib import Path

import pytest

from hermes_backup.home.databases.copying import copy
from hermes_backup.home.databases.facts import DatabaseBroken, facts
from hermes_backup.pipeline.interruption import interruptible
from tests.home.making import count, drain, fingerprint, make_database, next_line, running, writer

ODD_NAMES = [b"state.db", b"a?b#c%41&d.db", b"two words\nand lines.db", b"caf\xe9.db", "état 🗄.db".encode(), b"-wal"]
SIDES = ("-wal", "-shm", "-journal")


def sides(path: Path) -> list[str]:
    return [side for side in SIDES if path.with_name(path.name + side).exists()]


@pytest.fixture
def home(tmp_path: Path) -> Path:
    (tmp_path / "home").mkdir()
    return tmp_path / "home"


@pytest.fixture
def target(tmp_path: Path) -> Path:
    return tmp_path / "staged" / "state.db"


@pytest.mark.parametrize("journal", ["WAL", "DELETE", "TRUNCATE", "PERSIST"])
def test_a_quiet_database_is_copied_and_its_home_is_left_as_it_was(home: Path, target: Path, journal: str) -> None:
    source = make_database(home / "state.db", journal=journal)
    source.chmod(0o640)
    before = fingerprint(home)
    seen: list[tuple[int, int]] = []
    found = copy(source, target, deadline=20, progress=lambda done, total: seen.append((done, total)))
    assert fingerprint(home) == before
    assert found.tables["a"] == found.tables["b"] == 500
    assert found.tables["found_content"] == 50
    assert "found" not in found.tables
    assert "both" not in found.tables
    assert found.name == "state.db"
    assert (found.page_size, found.pages) == (4096, source.stat().st_size // 4096)
    assert sides(target) == []
    assert seen[-1][0] == seen[-1][1] > 0
    now, then = target.stat(), source.stat()
    assert (now.st_mode, now.st_uid, now.st_gid, now.st_mtime_ns) == (
        then.st_mode,
        then.st_uid,
        then.st_gid,
        then.st_mtime_ns,
    )


@pytest.mark.parametrize("page_size", [512, 1024, 4096, 65536])
@pytest.mark.parametrize("busy", [False, True])
def test_page_sizes(home: Path, target: Path, page_size: int, busy: bool) -> None:
    source = make_database(home / "state.db", page_size=page_size)
    if busy:
        with writer(source, pause=0.05):
            found = copy(source, target, deadline=20)
    else:
        found = copy(source, target, deadline=20)
    assert found.page_size == page_size
    assert found.tables["a"] == found.tables["b"] >= 500


@pytest.mark.parametrize("name", ODD_NAMES)
@pytest.mark.parametrize("busy", [False, True])
def test_odd_names(home: Path, tmp_path: Path, name: bytes, busy: bool) -> None:
    source = home / os.fsdecode(name)
    staged = tmp_path / "staged" / os.fsdecode(name)
    make_database(home / "plain.db").rename(source)
    reader = sqlite3.connect(f"file://{source_uri(source)}?mode=rw", uri=True)
    try:
        if busy:
            assert reader.execute("SELECT count(*) FROM a").fetchone() == (500,)
        assert copy(source, staged, deadline=20).tables["a"] == 500
    finally:
        reader.close()
    assert [os.fsencode(path.name) for path in staged.parent.iterdir()] == [name]


def source_uri(path: Path) -> str:
    return "".join(f"%{byte:02x}" for byte in os.fsencode(path)).replace("%2f", "/")


def test_user_version_application_id_and_journal_mode_survive(home: Path, target: Path) -> None:
    source = make_database(home / "state.db")
    connection = sqlite3.connect(source)
    connection.execute("PRAGMA user_version=22")
    connection.execute("PRAGMA application_id=4711")
    copy(source, target, deadline=20)  # while it is open
    connection.close()
    copied = sqlite3.connect(target)
    asked = [copied.execute(f"PRAGMA {what}").fetchone()[0] for what in ("user_version", "application_id")]
    mode = copied.execute("PRAGMA journal_mode").fetchone()[0]
    copied.close()
    assert (asked, mode) == ([22, 4711], "wal")


@pytest.mark.parametrize("pause", [0.0, 0.1], ids=["flat out", "ten a second"])
def test_a_writer_goes_on_meanwhile(home: Path, target: Path, pause: float) -> None:
    source = make_database(home / "state.db", rows=60_000)
    with writer(source, pause=pause) as process:
        acknowledged = int(next_line(process))
        started = time.monotonic()
        found = copy(source, target, deadline=20)
        assert time.monotonic() - started < 10
    assert found.tables["a"] == found.tables["b"] >= 60_000 + acknowledged
    assert found.tables["a"] <= count(source, "a")
    assert sides(target) == []


def test_a_writer_does_not_wait_for_the_copy(home: Path, target: Path) -> None:
    source = make_database(home / "state.db")
    with writer(source, pause=0.01) as process:

        def look(_done: int, _total: int) -> None:
            seen = int(next_line(process))
            while int(next_line(process)) < seen + 5:
                pass

        copy(source, target, deadline=20, progress=look)


@pytest.mark.parametrize("with_index", [True, False])
def test_what_a_killed_writer_had_committed_is_there(home: Path, target: Path, with_index: bool) -> None:
    source = make_database(home / "state.db")
    with writer(source, checkpoint=0) as process:
        while int(next_line(process)) < 100:
            pass
        process.send_signal(signal.SIGKILL)
        process.wait()
        acknowledged = int(["100", *drain(process)][-1])
    assert sides(source) == ["-wal", "-shm"]
    if not with_index:
        (home / "state.db-shm").unlink()
    before = fingerprint(home, but=("state.db-shm",))
    found = copy(source, target, deadline=20)
    assert fingerprint(home, but=("state.db-shm",)) == before
    assert found.tables["a"] == found.tables["b"] >= 500 + acknowledged
    assert sides(target) == []


_DIES_MIDWAY = """
import os, signal, sqlite3, sys
connection = sqlite3.connect(sys.argv[1], isolation_level=None)
connection.execute("PRAGMA cache_size=2")
connection.execute("BEGIN")
connection.execute("UPDATE a SET text = 'half done'")
connection.execute("DELETE FROM b")
os.kill(os.getpid(), signal.SIGKILL)
"""


def test_a_transaction_that_was_cut_off_is_rolled_back_in_the_copy(home: Path, target: Path) -> None:
    source = make_database(home / "state.db", rows=5000, journal="DELETE")
    with running(_DIES_MIDWAY, source) as process:
        process.wait()
    assert sides(source) == ["-journal"]
    before = fingerprint(home)
    found = copy(source, target, deadline=20)
    assert fingerprint(home) == before
    assert found.tables["a"] == found.tables["b"] == 5000
    assert sides(target) == []
    copied = sqlite3.connect(target)
    assert copied.execute("SELECT count(*) FROM a WHERE text = 'half done'").fetchone() == (0,)
    copied.close()


_LOCKS = """
import sqlite3, sys, time
connection = sqlite3.connect(sys.argv[1], isolation_level=None)
for statement in sys.argv[2:]:
    connection.execute(statement)
print("locked", flush=True)
time.sleep(600)
"""


def test_an_exclusive_lock_is_told_at_once(home: Path, target: Path) -> None:
    source = make_database(home / "state.db", journal="DELETE")
    with running(_LOCKS, source, "BEGIN EXCLUSIVE") as process:
        assert next_line(process) == "locked"
        started = time.monotonic()
        with pytest.raises(DatabaseBroken, match="locked by another process") as caught:
            copy(source, target, deadline=60)
        assert time.monotonic() - started < 6
    assert caught.value.reason == "it is locked by another process"
    assert not target.exists()


def test_a_wal_database_locked_by_one_that_shares_with_nobody(home: Path, target: Path) -> None:
    """In this mode the holder has no -shm, and other SQLite readers are turned away; its commits are in the files."""
    source = make_database(home / "state.db")
    locking = ("PRAGMA locking_mode=EXCLUSIVE", "INSERT INTO a (text) VALUES ('x')")
    with running(_LOCKS, source, *locking, "INSERT INTO b (text) VALUES ('x')") as process:
        assert next_line(process) == "locked"
        assert sides(source) == ["-wal"]
        found = copy(source, target, deadline=20)
    assert found.tables["a"] == found.tables["b"] == 501


def test_a_wal_database_locked_by_one_that_writes_on(home: Path, target: Path) -> None:
    source = make_database(home / "state.db")
    code = _LOCKS.replace("time.sleep(600)", "while True: connection.execute(sys.argv[-1])")
    with running(code, source, "PRAGMA locking_mode=EXCLUSIVE", "INSERT INTO a (text) VALUES ('x')") as process:
        assert next_line(process) == "locked"
        with pytest.raises(DatabaseBroken, match="locked by another process"):
            copy(source, target, deadline=20)


@pytest.mark.parametrize("busy", [False, True])
def test_the_deadline_holds(home: Path, target: Path, busy: bool) -> None:
    source = make_database(home / "state.db")
    reader = sqlite3.connect(source)
    if busy:
        reader.execute("SELECT count(*) FROM a").fetchone()
    with pytest.raises(DatabaseBroken, match="deadline"):
        copy(source, target, deadline=0)
    reader.close()
    assert list(target.parent.iterdir()) == []


class _EnoughError(Exception):
    pass


@pytest.mark.parametrize("busy", [False, True])
def test_it_can_be_ended_and_leaves_nothing(home: Path, target: Path, busy: bool) -> None:
    source = make_database(home / "state.db")
    reader = sqlite3.connect(source)
    if busy:
        reader.execute("SELECT count(*) FROM a").fetchone()

    def end(_done: int, _total: int) -> None:
        raise _EnoughError

    with pytest.raises(_EnoughError):
        copy(source, target, deadline=20, progress=end)
    reader.close()
    assert list(target.parent.iterdir()) == []


def test_a_target_that_is_there_is_never_written_to(home: Path, target: Path) -> None:
    source = make_database(home / "state.db")
    target.parent.mkdir()
    target.write_text("mine")
    with pytest.raises(FileExistsError):
        copy(source, target, deadline=20)
    assert target.read_text() == "mine"


def test_the_copy_gives_the_facts_that_were_returned(home: Path, target: Path) -> None:
    source = make_database(home / "state.db")
    found = copy(source, target, deadline=20, name="profiles/x/state.db")
    assert facts(target, name="profiles/x/state.db") == found
    assert found.name == "profiles/x/state.db"
    assert sides(target) == []


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
@pytest.mark.parametrize("after", [0.01, 0.04, 0.07])
def test_a_signal_while_sqlite_checks_is_no_deadline_and_no_damage(
    home: Path, number: signal.Signals, after: float
) -> None:
    source = home / "many.db"
    with contextlib.closing(sqlite3.connect(source)) as connection:
        rows = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 1000000) SELECT i FROM n"
        connection.execute(f"CREATE TABLE many AS {rows}")
        connection.commit()
    sender = threading.Timer(after + 0.01, os.kill, (os.getpid(), number))
    sender.start()
    with pytest.raises(KeyboardInterrupt), interruptible():
        _look_for_ever(source)


def _look_for_ever(source: Path) -> None:
    while True:
        facts(source)
