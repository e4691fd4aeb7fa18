"""Who has a database open, and who writes to a log that is gone."""

from __future__ import annotations

import sqlite3
from pathlib import Path

import pytest

from hermes_backup.home.databases.holders import holders, split_brain
from tests.home.making import make_database, next_line, running, writer

_READS = """
import sqlite3, sys, time
connection = sqlite3.connect(sys.argv[1], isolation_level=None)
connection.execute("BEGIN")
connection.execute("SELECT count(*) FROM a").fetchone()
print("open", flush=True)
time.sleep(600)
"""


@pytest.fixture
def database(tmp_path: Path) -> Path:
    return make_database(tmp_path / "state.db")


def test_nobody_holds_a_quiet_database(database: Path) -> None:
    assert holders(database) == split_brain(database) == ()


def test_we_do_not_count_ourselves(database: Path) -> None:
    connection = sqlite3.connect(database)
    connection.execute("SELECT count(*) FROM a").fetchone()
    assert holders(database) == ()
    connection.close()


def test_a_holder_is_named_without_its_arguments(database: Path, tmp_path: Path) -> None:
    other = make_database(tmp_path / "other.db")
    link = tmp_path / "link.db"
    link.symlink_to(database)
    with running(_READS, database, "--token=secret") as process:
        assert next_line(process) == "open"
        (holder,) = holders(database)
        assert (holder.pid, holder.deleted_wal) == (process.pid, False)
        assert holder.command.startswith("python")
        assert "secret" not in holder.command
        assert "sqlite3" not in holder.command
        assert holder.file.startswith(str(database))
        assert holders(link) == holders(database, other) == (holder,)
        assert holders(other) == split_brain(database) == ()


def test_a_script_is_named_with_its_interpreter(database: Path, tmp_path: Path) -> None:
    script = tmp_path / "gateway.py"
    script.write_text(_READS)
    code = "import os, sys; os.execv(sys.executable, [sys.executable, *sys.argv[1:]])"
    with running(code, script, database, "--secret") as process:
        assert next_line(process) == "open"
        (holder,) = holders(database)
    assert holder.command.split()[1:] == ["gateway.py"]


def test_a_writer_whose_log_was_deleted_is_a_split_brain(database: Path, tmp_path: Path) -> None:
    same_name = tmp_path / "profiles" / "x"
    same_name.mkdir(parents=True)
    other = make_database(same_name / "state.db")
    with writer(database, pause=0.05) as process:
        assert split_brain(database) == ()
        for side in ("-wal", "-shm"):
            database.with_name(database.name + side).unlink()
        (holder,) = split_brain(database, other)
        assert (holder.pid, holder.deleted_wal) == (process.pid, True)
        assert holder.file == f"{database}-wal (deleted)"
        assert split_brain(other) == ()


def test_a_split_brain_seen_under_another_path_is_told_by_the_database_held_with_it(
    database: Path, tmp_path: Path
) -> None:
    """A container sees the home elsewhere; here another hard link to the folder's file stands for its view of it."""
    view = tmp_path / "opt"
    view.mkdir()
    (view / "state.db").hardlink_to(database)
    with writer(view / "state.db", pause=0.05) as process:
        (view / "state.db-wal").unlink()
        (holder,) = split_brain(database)
    assert holder.pid == process.pid


def test_a_database_that_was_replaced_under_its_holder(database: Path, tmp_path: Path) -> None:
    with running(_READS, database) as process:
        assert next_line(process) == "open"
        database.rename(tmp_path / "aside.db")
        make_database(database)
        (holder,) = holders(tmp_path / "aside.db")
        assert holder.pid == process.pid
