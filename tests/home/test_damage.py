"""Databases that are damaged, gone, empty or no databases: each is told, and none yields a copy."""

from __future__ import annotations

import os
import shutil
import sqlite3
import struct
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from hermes_backup.errors import DISK_FULL
from hermes_backup.home.databases.copying import copy, require_same
from hermes_backup.home.databases.facts import DatabaseBroken, facts, reading, shape
from tests.home.making import make_database, next_line, running, where_mounting_works, writer


@pytest.fixture
def source(tmp_path: Path) -> Path:
    (tmp_path / "home").mkdir()
    return make_database(tmp_path / "home" / "state.db", rows=3000)


@pytest.fixture
def target(tmp_path: Path) -> Path:
    return tmp_path / "staged" / "state.db"


def refused(source: Path, target: Path) -> str:
    with pytest.raises(DatabaseBroken) as caught:
        copy(source, target, deadline=20)
    assert not target.parent.exists() or list(target.parent.iterdir()) == []
    return caught.value.reason


def overwrite(path: Path, offset: int, data: bytes) -> None:
    with path.open("r+b") as file:
        file.seek(offset)
        file.write(data)


@pytest.mark.parametrize("busy", [False, True])
def test_an_overwritten_page_in_the_middle(source: Path, target: Path, busy: bool) -> None:
    middle = source.stat().st_size // 4096 // 2
    overwrite(source, middle * 4096, os.urandom(4096))
    reader = sqlite3.connect(source)
    if busy:
        reader.execute("SELECT count(*) FROM sqlite_master").fetchone()
    reason = refused(source, target)
    reader.close()
    assert reason.startswith("it is damaged: ")


def test_a_file_that_lost_its_end(source: Path, target: Path) -> None:
    os.truncate(source, source.stat().st_size // 2 // 4096 * 4096)
    assert refused(source, target)


def test_a_destroyed_header(source: Path, target: Path) -> None:
    overwrite(source, 0, b"\0" * 100)
    assert "header" in refused(source, target)


def test_a_destroyed_schema(source: Path, target: Path) -> None:
    overwrite(source, 100, os.urandom(3996))
    assert refused(source, target)


def test_an_empty_file(source: Path, target: Path) -> None:
    os.truncate(source, 0)
    assert refused(source, target) == "it is an empty file"


def test_a_missing_file(source: Path, target: Path) -> None:
    source.unlink()
    assert refused(source, target) == "it is not there"
    assert not source.exists()


def test_a_missing_file_whose_log_is_left_keeps_its_log(source: Path, target: Path) -> None:
    with writer(source, checkpoint=0) as process:
        process.kill()
        process.wait()
    source.unlink()
    log = source.with_name("state.db-wal").read_bytes()
    assert refused(source, target) == "it is not there"
    assert source.with_name("state.db-wal").read_bytes() == log


@pytest.mark.parametrize("kind", ["folder", "link", "pipe"])
def test_what_is_no_regular_file(source: Path, target: Path, kind: str) -> None:
    there = source.with_name("other.db")
    if kind == "folder":
        there.mkdir()
    elif kind == "link":
        there.symlink_to(source)
    else:
        os.mkfifo(there)
    assert refused(there, target)


def test_facts_tell_the_same_damage(source: Path) -> None:
    assert facts(source).tables["a"] == 3000
    overwrite(source, source.stat().st_size // 4096 // 2 * 4096, os.urandom(4096))
    with pytest.raises(DatabaseBroken, match="damaged"):
        facts(source)


def test_facts_refuse_a_database_that_a_log_belongs_to(source: Path) -> None:
    with writer(source, checkpoint=0) as process:
        process.kill()
        process.wait()
    with pytest.raises(DatabaseBroken, match="-wal lies beside it"):
        facts(source)


def test_a_sound_copy_of_something_else_is_refused(source: Path, tmp_path: Path) -> None:
    with reading(source) as connection:
        promised = shape(connection)
    require_same(promised, source)
    other = make_database(tmp_path / "other.db", rows=10)
    with pytest.raises(DatabaseBroken, match="the copy differs"):
        require_same(promised, other)


def edit_schema(path: Path, statement: str) -> None:
    """Change the schema as a program with an extension would have made it."""
    connection = sqlite3.connect(path)
    connection.executescript(f"PRAGMA writable_schema=ON; {statement}; PRAGMA writable_schema=RESET;")
    connection.close()


def test_an_index_that_needs_an_extension_is_no_damage(source: Path, target: Path) -> None:
    edit_schema(
        source, "UPDATE sqlite_master SET sql = replace(sql, '(text)', '(text, tokenize=cjk)') WHERE name = 'found'"
    )
    edit_schema(
        source,
        "INSERT INTO sqlite_master VALUES ('table', 'vec', 'vec', 0, 'CREATE VIRTUAL TABLE vec USING vec0 (x)')",
    )
    connection = sqlite3.connect(source)
    with pytest.raises(sqlite3.OperationalError, match="no such"):
        connection.execute("SELECT * FROM found").fetchall()
    connection.close()
    found = copy(source, target, deadline=20)
    assert found.tables["a"] == 3000
    assert found.tables["found_content"] == 50
    assert {"found", "vec"}.isdisjoint(found.tables)


def test_a_table_that_needs_a_collation_is_named_and_the_others_are_checked(source: Path, target: Path) -> None:
    connection = sqlite3.connect(source)
    connection.create_collation("own", lambda one, other: (one > other) - (one < other))
    connection.executescript(
        "CREATE TABLE c (x TEXT COLLATE own PRIMARY KEY); INSERT INTO c VALUES ('1'), ('2');"
        "CREATE TABLE d (x TEXT COLLATE own PRIMARY KEY) WITHOUT ROWID; INSERT INTO d VALUES ('1');"
    )
    connection.close()
    found = copy(source, target, deadline=20)
    assert found.unchecked == ("c", "d")
    assert found.tables["c"] == 2
    assert "d" not in found.tables
    target.unlink()
    roots = sqlite3.connect(source)
    (root,) = roots.execute("SELECT rootpage FROM sqlite_master WHERE name = 'b'").fetchone()
    roots.close()
    overwrite(source, (root - 1) * 4096, os.urandom(4096))
    assert refused(source, target)


_COPIES = """
import os, sys
from pathlib import Path
from hermes_backup.home.databases.copying import copy
from hermes_backup.home.databases.facts import DatabaseBroken
os.setgroups([])
os.setgid(65534)
os.setuid(65534)
try:
    print(copy(Path(sys.argv[1]), Path(sys.argv[2]), deadline=20).tables["a"])
except DatabaseBroken as broken:
    print(broken.reason)
"""

only_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another user")


@pytest.fixture
def readable() -> Iterator[Path]:
    """Return a folder that everyone can read and enter, and only we can write to."""
    base = Path(tempfile.mkdtemp(prefix="hermes-backup-test-", dir="/var/tmp"))
    base.chmod(0o755)
    (base / "home").mkdir(mode=0o755)
    (base / "staged").mkdir(mode=0o777)
    (base / "staged").chmod(0o777)
    yield base
    shutil.rmtree(base)


def copied_by_nobody(base: Path) -> str:
    with running(_COPIES, base / "home" / "state.db", base / "staged" / "state.db") as process:
        return next_line(process)


@only_root
def test_a_user_who_may_only_read_copies_a_quiet_database(readable: Path) -> None:
    make_database(readable / "home" / "state.db")
    assert copied_by_nobody(readable) == "500"
    assert [path.name for path in (readable / "home").iterdir()] == ["state.db"]


@only_root
def test_a_user_who_may_only_read_copies_one_that_crashed(readable: Path) -> None:
    with writer(make_database(readable / "home" / "state.db"), checkpoint=0, pause=1) as process:
        process.kill()
        process.wait()
    (readable / "home" / "state.db-shm").unlink()
    assert copied_by_nobody(readable) == "501"


@only_root
def test_a_user_who_may_only_read_copies_a_busy_one_or_is_told_why_not(readable: Path) -> None:
    source = make_database(readable / "home" / "state.db")
    with writer(source):
        assert int(copied_by_nobody(readable)) > 500
        source.with_name("state.db-shm").chmod(0o600)
        (readable / "staged" / "state.db").unlink()
        assert "run as the home's owner" in copied_by_nobody(readable)


_FULL = """
import subprocess, sys
from pathlib import Path
from hermes_backup.errors import Fault
from hermes_backup.home.databases.copying import copy
staged = Path(sys.argv[2])
subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", staged], check=True)
try:
    copy(Path(sys.argv[1]), staged / "state.db", deadline=20)
except Fault as fault:
    print(fault.kind.name, fault.where == sys.argv[2], list(staged.iterdir()))
"""


@pytest.mark.parametrize("busy", [False, True])
def test_a_full_disk(source: Path, target: Path, busy: bool) -> None:
    prefix = where_mounting_works()
    target.parent.mkdir()
    reader = sqlite3.connect(source)
    if busy:
        reader.execute("SELECT count(*) FROM a").fetchone()
    with running(_FULL, source, target.parent, prefix=prefix) as process:
        said = next_line(process)
    reader.close()
    assert said == f"{DISK_FULL.name} True []"


def test_a_header_that_promises_more_than_there_is(source: Path, target: Path) -> None:
    overwrite(source, 28, struct.pack(">I", 10_000))
    assert refused(source, target)
