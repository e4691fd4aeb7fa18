"""``if_changed`` by a glance: a home to which nothing was written is not read, and every change is saved."""

from __future__ import annotations

import contextlib
import os
import shutil
import sqlite3
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.home.making import next_line, running
from tests.pipeline.calm import QUICK, calm, compared, quick_to_settle, settle, stages_of
from tests.site import Site, fill

__all__ = ["calm", "quick_to_settle"]
pytestmark = pytest.mark.usefixtures("quick_to_settle")
AGENT = """
import sqlite3, sys
connection = sqlite3.connect(sys.argv[1], isolation_level=None)
connection.execute("PRAGMA wal_autocheckpoint=0")
print("open", flush=True)
for line in sys.stdin:
    connection.execute(line).fetchall()
    print("done", flush=True)
"""


def test_a_glance_reads_nothing_copies_nothing_and_says_what_a_compare_says(site: Site) -> None:
    megabytes = 24
    (site.home / "workspace").mkdir()
    (site.home / "workspace" / "data").write_bytes(os.urandom(megabytes << 20))
    settle()
    assert site.run(options=QUICK).state == "done"
    before = site.snapshots()
    (site.folder / "marks.json").rename(site.root / "marks.json")
    read = _read_by(lambda: site.run(options=QUICK))
    slow = site.status()
    assert (slow.state, read > megabytes << 20) == ("unchanged", True)
    (site.root / "marks.json").rename(site.folder / "marks.json")
    read = _read_by(lambda: site.run(options=QUICK))
    quick = site.status()
    assert read < 4 << 20
    assert stages_of(site) == ["compare", "store"]
    assert compared(site) == f"unchanged since {quick.snapshot}, by its marks"
    differs = {"started", "updated", "finished", "heartbeat", "done", "total"}
    assert quick.model_dump(exclude=differs) == slow.model_dump(exclude=differs)
    assert site.snapshots() == before
    assert sorted(it.name for it in site.folder.iterdir() if it.name.startswith("run-")) == []


def _read_by(run: Callable[[], object]) -> int:
    """How many bytes this process, and the children that it waited for, read meanwhile (proc(5), io)."""
    before = _rchar()
    run()
    return _rchar() - before


def _rchar() -> int:
    return int(Path("/proc/self/io").read_text().split()[1])


def test_what_is_remembered_is_private_small_and_tells_no_names_but_databases(calm: Site) -> None:
    file = calm.folder / "marks.json"
    assert file.stat().st_mode & 0o777 == 0o600
    assert file.stat().st_size < 2000
    assert not any(word in file.read_text() for word in ("SOUL", "memories", "skills"))


def _same_size_and_date(home: Path) -> None:
    soul = home / "SOUL.md"
    before = soul.stat()
    soul.write_text("I am the tesT.\n")
    os.utime(soul, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert (soul.stat().st_size, soul.stat().st_mtime_ns) == (before.st_size, before.st_mtime_ns)


def _in_rollback_mode(home: Path) -> None:
    with contextlib.closing(sqlite3.connect(home / "state.db")) as connection:
        connection.execute("UPDATE messages SET content = 'other' WHERE id = 1")
        connection.commit()


def _retargeted(home: Path) -> None:
    (home / "current").unlink()
    (home / "current").symlink_to("skills/repart")


CHANGES: dict[str, Callable[[Path], object]] = {
    "content, same size and date": _same_size_and_date,
    "a database": lambda home: fill(home / "state.db", 1),
    "mode": lambda home: (home / "SOUL.md").chmod(0o640),
    "owner": lambda home: os.chown(home / "SOUL.md", 12345, 12345),
    "mode of a folder": lambda home: (home / "empty").chmod(0o700),
    "owner of a folder": lambda home: os.chown(home / "empty", 12345, 12345),
    "attribute": lambda home: os.setxattr(home / "SOUL.md", "user.mood", b"calm"),
    "attribute of a folder": lambda home: os.setxattr(home / "empty", "user.mood", b"calm"),
    "new file": lambda home: (home / "new.md").write_text(""),
    "new folder": lambda home: (home / "new").mkdir(),
    "file gone": lambda home: (home / "memories" / "MEMORY.md").unlink(),
    "folder gone": lambda home: (home / "empty").rmdir(),
    "renamed": lambda home: (home / "SOUL.md").rename(home / "SOUL2.md"),
    "link": _retargeted,
    "an orphaned log": lambda home: (home / "kanban.db-wal").write_bytes(b"\x37\x7f\x06\x82" + bytes(5000)),
}


@pytest.mark.parametrize("change", CHANGES)
def test_every_change_is_saved(calm: Site, change: str) -> None:
    if "owner" in change and os.geteuid():
        pytest.skip("only root may give files away")
    CHANGES[change](calm.home)
    status = calm.run(options=QUICK)
    assert (status.state, str(status.snapshot)[:6]) == ("partial" if "log" in change else "done", "000002")


NOTHING: dict[str, Callable[[Path], object]] = {
    "nothing": Path.exists,
    "what is left out": lambda home: (home / "logs" / "agent.log").write_text("noise\n"),
    "what is volatile": lambda home: (home / "gateway.pid").write_text("7"),
    "a socket": lambda home: os.mkfifo(home / "pipe"),
    "read": lambda home: (home / "SOUL.md").read_text(),
    "a database opened and read": lambda home: _query(home / "state.db"),
    "dates of a folder": lambda home: os.utime(home / "empty", (1, 1)),
}


def _query(path: Path) -> None:
    with contextlib.closing(sqlite3.connect(path)) as connection:
        assert connection.execute("SELECT count(*) FROM messages").fetchone() == (200,)
        assert path.with_name("state.db-shm").exists()


@pytest.mark.parametrize("what", NOTHING)
def test_what_is_not_in_a_backup_does_not_count(calm: Site, what: str) -> None:
    NOTHING[what](calm.home)
    assert calm.run(options=QUICK).state == "unchanged"
    assert "by its marks" in compared(calm)


SAME: dict[str, Callable[[Path], object]] = {
    "touched": lambda home: os.utime(home / "SOUL.md"),
    "another file of the same bytes": lambda home: _again(home / "SOUL.md"),
    "mode there and back": lambda home: ((home / "SOUL.md").chmod(0o600), (home / "SOUL.md").chmod(0o644)),
}


def _again(path: Path) -> None:
    shutil.copy2(path, path.with_name("new"))
    path.with_name("new").rename(path)


@pytest.mark.parametrize("what", SAME)
def test_a_doubt_is_settled_by_content_and_the_next_glance_knows(calm: Site, what: str) -> None:
    SAME[what](calm.home)
    settle()
    status = calm.run(options=QUICK)
    assert (status.state, str(status.snapshot)[:6]) == ("unchanged", "000001")
    assert compared(calm).startswith("by content: its files")
    assert calm.run(options=QUICK).state == "unchanged"
    assert "by its marks" in compared(calm)


class Agent:
    """A process of its own that has a database open: what the run closes of it would free the locks of this one."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self._process = process
        assert next_line(process) == "open"

    def do(self, statement: str) -> None:
        assert self._process.stdin is not None
        self._process.stdin.write(statement + "\n")
        self._process.stdin.flush()
        assert next_line(self._process) == "done"


def test_commits_checkpoints_and_logs_begun_anew_are_seen(site: Site) -> None:
    database, log = site.home / "state.db", site.home / "state.db-wal"
    insert = "INSERT INTO messages (content) VALUES ('one more')"
    with running(AGENT, str(database)) as process:
        agent = Agent(process)
        agent.do(insert)
        settle()
        assert site.run(options=QUICK).state == "done"
        assert site.run(options=QUICK).state == "unchanged", "the agent holds its database, and writes nothing"
        assert "by its marks" in compared(site)
        agent.do(insert)
        settle()
        assert site.run(options=QUICK).state == "done", "a commit, in the log alone"
        size = log.stat().st_size
        agent.do("PRAGMA wal_checkpoint(RESTART)")
        settle()
        assert site.run(options=QUICK).state == "unchanged", "a checkpoint is no change of content"
        assert "by content" in compared(site)
        assert site.run(options=QUICK).state == "unchanged"
        assert "by its marks" in compared(site)
        agent.do(insert)
        assert log.stat().st_size == size, "the log is written again from its start"
        settle()
        assert site.run(options=QUICK).state == "done"
        assert site.run(options=QUICK).state == "unchanged"
        assert "by its marks" in compared(site)
        dates = log.stat()
        agent.do("UPDATE messages SET content = 'one MORE' WHERE id = 201")
        agent.do("DELETE FROM messages WHERE id = 202")
        os.utime(log, ns=(dates.st_atime_ns, dates.st_mtime_ns))
        assert site.run(options=QUICK).state == "done"


def test_a_database_with_a_rollback_journal(site: Site) -> None:
    with contextlib.closing(sqlite3.connect(site.home / "state.db")) as connection:
        connection.execute("PRAGMA journal_mode=DELETE")
    settle()
    assert [site.run(options=QUICK).state for _ in range(2)] == ["done", "unchanged"]
    assert "by its marks" in compared(site)
    size = (site.home / "state.db").stat().st_size
    _in_rollback_mode(site.home)
    assert (site.home / "state.db").stat().st_size == size
    assert site.run(options=QUICK).state == "done"
