"""``if_changed`` by a glance: a home to which nothing was written is not read, and whatever else it is, it is read."""

from __future__ import annotations

import contextlib
import json
import mmap
import os
import shutil
import sqlite3
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from hermes_backup.home import timekeeping
from hermes_backup.home.marks import take
from hermes_backup.home.selection import Rules, select
from hermes_backup.home.timekeeping import untold
from hermes_backup.pipeline import marked
from hermes_backup.pipeline.agent import Options
from hermes_backup.stages.archive import Archive
from hermes_backup.stages.sqlite import Sqlite
from hermes_backup.stages.things import Home
from tests.home.making import next_line, running
from tests.pipeline.ground import wait_until
from tests.site import Site, fill

QUICK = Options("test", if_changed=True)
LAST = Options("test", if_changed=True, keep=True)
AGENT = """
import sqlite3, sys
connection = sqlite3.connect(sys.argv[1], isolation_level=None)
connection.execute("PRAGMA wal_autocheckpoint=0")
print("open", flush=True)
for line in sys.stdin:
    connection.execute(line).fetchall()
    print("done", flush=True)
"""
SPLIT = """
import os, sqlite3, sys
connection = sqlite3.connect(sys.argv[1], isolation_level=None)
connection.execute("PRAGMA wal_autocheckpoint=0")
print("open", flush=True)
sys.stdin.readline()
connection.execute("SELECT * FROM messages").fetchall()
os.unlink(sys.argv[1] + "-wal")
os.unlink(sys.argv[1] + "-shm")
connection.execute("INSERT INTO messages (content) VALUES ('in the lost log')")
print("split", flush=True)
sys.stdin.read()
"""


def settle() -> None:
    """Let the next write get another time than all before."""
    time.sleep(timekeeping.SETTLED_NS / 1e9 + 0.05)


def compared(site: Site) -> str:
    """What the last run said of its compare, by marks or by content."""
    events = [json.loads(it) for it in (site.folder / "events.jsonl").read_text().splitlines()]
    return "; ".join(it["text"] for it in events if it["event"] == "note" and it["stage"] in ("compare", "archive"))


def stages_of(site: Site) -> list[str]:
    events = [json.loads(it) for it in (site.folder / "events.jsonl").read_text().splitlines()]
    return [it["stage"] for it in events if it["event"] == "stage"]


@pytest.fixture(autouse=True)
def _quick_to_settle(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(timekeeping, "SETTLED_NS", 60_000_000)


@pytest.fixture
def calm(site: Site) -> Site:
    """A site with a snapshot whose marks are known: the next run ends with a glance."""
    why = untold(site.home, select(site.home, Archive().rules(Home(site.home, Rules()))))
    if why:
        pytest.skip(f"here no home is believed by its marks: {why}")
    settle()
    assert site.run(options=QUICK).state == "done"
    return site


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


def test_what_was_written_just_before_is_not_believed(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two writes within a tick of the clock have one time: the second would not be seen."""
    monkeypatch.setattr(timekeeping, "SETTLED_NS", 3_000_000_000)
    (site.home / "SOUL.md").write_text("just now\n")
    assert site.run(options=QUICK).state == "done"
    assert "not marked: something was written just before" in compared(site)
    assert not (site.folder / "marks.json").exists()
    settle()
    assert site.run(options=QUICK).state == "unchanged"
    assert "by its marks" not in compared(site)
    assert site.run(options=QUICK).state == "unchanged"
    assert "by its marks" in compared(site)


def _edit(site: Site, change: Callable[[dict[str, Any]], object]) -> None:
    file = site.folder / "marks.json"
    data = json.loads(file.read_text())
    change(data)
    file.write_text(json.dumps(data))


HOUR = 3600 * 10**9
DOUBTS: dict[str, Callable[[dict[str, Any]], object]] = {
    "a day old": lambda data: data["moment"].update(
        since_boot=data["moment"]["since_boot"] - 25 * HOUR, wall=data["moment"]["wall"] - 25 * HOUR
    ),
    "of the future": lambda data: data["moment"].update(
        since_boot=data["moment"]["since_boot"] + HOUR, wall=data["moment"]["wall"] + HOUR
    ),
    "the clock was set back": lambda data: data["moment"].update(wall=data["moment"]["wall"] + HOUR),
    "the clock was set forth": lambda data: data["moment"].update(wall=data["moment"]["wall"] - HOUR),
    "started since": lambda data: data["moment"].update(boot="0f5b2d0c-0000-0000-0000-000000000000"),
    "another snapshot": lambda data: data.update(snapshot="0" * 64),
    "another version": lambda data: data.update(engine="0.0.9"),
    "other settings": lambda data: data.update(settings="0" * 64),
    "no marks": lambda data: data.pop("marks"),
    "of a later program": lambda data: data.update(more=1),
}


@pytest.mark.parametrize("doubt", DOUBTS)
def test_marks_that_may_be_of_another_time_or_thing_are_not_believed(calm: Site, doubt: str) -> None:
    _edit(calm, DOUBTS[doubt])
    status = calm.run(options=QUICK)
    assert (status.state, str(status.snapshot)[:6]) == ("unchanged", "000001")
    assert "by its marks" not in compared(calm)
    assert calm.run(options=QUICK).state == "unchanged"
    assert "by its marks" in compared(calm), "a compare by content renews them"


def test_what_no_mark_shows_is_found_within_a_day(calm: Site) -> None:
    """A disk that rots, or a forger, changes a file and leaves its times: here the marks are made to fit instead."""
    (calm.home / "SOUL.md").write_text("I am forged.\n")
    known = marked.read(calm.folder)
    assert known is not None
    now = take(calm.home, select(calm.home, Rules()), [b"state.db"])
    assert now != known.marks
    marked.write(calm.folder, known.model_copy(update={"marks": now}))
    assert calm.run(options=QUICK).state == "unchanged"
    _edit(calm, DOUBTS["a day old"])
    assert calm.run(options=QUICK).state == "done"


def test_a_glance_does_not_put_off_the_daily_compare(calm: Site) -> None:
    before = (calm.folder / "marks.json").read_bytes()
    assert calm.run(options=QUICK).state == "unchanged"
    assert (calm.folder / "marks.json").read_bytes() == before


def test_another_home_in_the_same_place_is_not_the_same(calm: Site) -> None:
    shutil.copytree(calm.home, calm.root / "other", symlinks=True)
    calm.home.rename(calm.root / "old")
    (calm.root / "other").rename(calm.home)
    assert calm.run(options=QUICK).state == "unchanged"
    assert "by content: it is another folder" in compared(calm)


def test_other_settings_and_other_exclusions_are_not_the_same(calm: Site) -> None:
    other = calm.usual(archive={"exclude": ["/empty/"]})
    assert calm.run(other, options=QUICK).state == "done"
    assert calm.run(other, options=QUICK, exclude_extra=["/memories/"]).state == "done"


@pytest.mark.parametrize("lost", ["the data", "the manifest", "everything"])
def test_a_snapshot_that_is_gone_is_made_again(calm: Site, lost: str) -> None:
    for name in calm.snapshots():
        if lost == "everything" or (".tar" in name and lost == "the data") or name.endswith(".asc"):
            (calm.store / "vps1" / "nightly" / name).unlink()
    status = calm.run(options=QUICK)
    assert (status.state, str(status.snapshot)[:6]) == ("done", "000002")
    assert "by content: the last snapshot is not where it was put" in compared(calm)


def test_a_run_that_fails_or_is_partial_leaves_no_marks(calm: Site) -> None:
    marks = calm.folder / "marks.json"
    (calm.home / "SOUL.md").touch()
    settle()
    calm.store.rename(calm.root / "away")
    calm.store.write_text("no folder")
    assert calm.run(options=QUICK).state == "failed"
    assert not marks.exists()
    calm.store.unlink()
    (calm.root / "away").rename(calm.store)
    (calm.home / "kanban.db").write_bytes(b"no database")
    settle()
    assert calm.run(options=QUICK).state == "partial"
    assert not marks.exists()


def test_a_file_that_came_and_went_while_the_home_was_read(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is in the snapshot, and in no mark: without a second look, its going would not be seen."""
    settle()
    copying = Sqlite.run

    def run(stage: Sqlite, value: Any, context: Any) -> Home:
        (site.home / "passing.md").write_text("a draft\n")
        return copying(stage, value, context)

    with monkeypatch.context() as patched:
        patched.setattr(Sqlite, "run", run)
        assert site.run(options=QUICK).state == "done"
    assert "not marked: its files" in compared(site)
    (site.home / "passing.md").unlink()
    assert site.run(options=QUICK).state == "done"


def test_a_process_that_writes_to_a_deleted_log_is_no_calm(site: Site) -> None:
    """Nothing in the home shows what it writes."""
    database = site.home / "state.db"
    settle()
    with running(SPLIT, str(database)) as holder:
        assert next_line(holder) == "open"
        assert site.run(options=QUICK).state == "done"
        assert site.run(options=QUICK).state == "unchanged"
        assert "by its marks" in compared(site)
        assert holder.stdin is not None
        holder.stdin.write("go\n")
        holder.stdin.flush()
        assert next_line(holder) == "split"
        status = site.run(options=QUICK)
        assert (status.state, status.exit_code) == ("partial", 4)
        assert "by content: a process writes to a log that was deleted" in compared(site)


def test_a_file_that_is_mapped_to_be_written_is_no_calm(calm: Site) -> None:
    script = """
import mmap, sys
with open(sys.argv[1], "r+b") as file, mmap.mmap(file.fileno(), 0) as mapped:
    print("mapped", flush=True)
    sys.stdin.read()
"""
    with running(script, str(calm.home / "SOUL.md")) as holder:
        assert next_line(holder) == "mapped"
        assert calm.run(options=QUICK).state == "unchanged"
        assert "by content: a process has a file of it mapped to write" in compared(calm)
        assert not (calm.folder / "marks.json").exists()
    assert calm.run(options=QUICK).state == "unchanged"
    with (calm.home / "SOUL.md").open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ):
        assert calm.run(options=QUICK).state == "unchanged"
        assert "by its marks" in compared(calm), "read, not written"


def test_a_file_system_whose_times_do_not_tell_is_always_read(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(timekeeping, "_KEEPING", frozenset({0x6969}))
    settle()
    assert [site.run(options=QUICK).state for _ in range(2)] == ["done", "unchanged"]
    assert "does not tell of every write" in compared(site)
    assert "by its marks" not in compared(site)


def test_the_last_snapshot_of_a_machine_that_goes_is_compared_by_content(calm: Site) -> None:
    """No daily compare comes after it."""
    assert calm.run(options=LAST).state == "unchanged"
    assert "by its marks" not in compared(calm)
    assert calm.run(options=QUICK).state == "unchanged"
    assert "by its marks" in compared(calm)


def test_commands_run_around_a_glance_as_around_a_compare(site: Site) -> None:
    """What one writes into the home before, such as a dump, is seen."""
    said, dump = site.root / "said", site.home / "dump.sql"
    moments = {"after": "after", "always": "always", "on_failure": "failed"}
    words = {it: ["/bin/sh", "-c", f"echo {word} >> {said}"] for it, word in moments.items()}
    before = ["/bin/sh", "-c", f"cmp -s {site.root}/data {dump} || cp {site.root}/data {dump}"]
    stages = [{"command": {"before": before, **words}}, *site.usual()]
    (site.root / "data").write_text("1\n")
    dump.write_text("1\n")
    settle()
    assert [site.run(stages, options=QUICK).state for _ in range(2)] == ["done", "unchanged"]
    assert "by its marks" in compared(site)
    assert said.read_text().split() == ["after", "always"] * 2
    (site.root / "data").write_text("2\n")
    assert site.run(stages, options=QUICK).state == "done"


def test_prune_comes_after_a_glance_too(site: Site) -> None:
    for _ in range(3):
        assert site.run().state == "done"
    stages = site.usual({"prune": {"keep_last": 4}})
    settle()
    assert [site.run(stages, options=QUICK).state for _ in range(2)] == ["done", "unchanged"]
    assert stages_of(site) == ["compare", "store", "prune"]
    fewer = site.usual({"prune": {"keep_last": 1}})
    assert [site.run(fewer, options=QUICK).state for _ in range(2)] == ["done", "unchanged"]
    assert len([it for it in site.snapshots() if it.endswith(".asc")]) == 1


@pytest.mark.parametrize("way", ["by its marks", "by content"])
def test_a_later_place_that_lacks_the_snapshot_gets_it(site: Site, way: str) -> None:
    """A push behind a prune is a group of its own: that the first places have the snapshot proves nothing of it."""
    stages = site.usual({"prune": {"keep_last": 9}}, {"push": {"to": [str(site.remote)], "attempts": 1}})
    site.remote.write_text("no folder")
    settle()
    failed = site.run(stages, options=QUICK)
    assert (failed.state, failed.places) == ("failed", (str(site.store),))
    site.remote.unlink()
    again = site.run(stages, options=QUICK)
    assert (again.state, again.places) == ("unchanged", (str(site.store), str(site.remote)))
    assert site.snapshots(site.remote) == site.snapshots()
    if way == "by content":
        (site.folder / "marks.json").unlink()
    assert site.run(stages, options=QUICK).places == (str(site.store), str(site.remote))
    assert ("by its marks" in compared(site)) == (way == "by its marks")
    for name in site.snapshots(site.remote):
        (site.remote / "vps1" / "nightly" / name).unlink()
    assert site.run(stages, options=QUICK).state == "unchanged"
    assert site.snapshots(site.remote) == site.snapshots()


def test_the_heartbeat_outlives_runs_that_tell_nothing(calm: Site) -> None:
    assert calm.status().heartbeat is None
    same = calm.run(options=QUICK)
    assert same.heartbeat is not None
    assert (same.heartbeat.snapshot, same.heartbeat.at) == (same.snapshot, same.started)
    assert calm.run(options=Options("t", dry_run=True)).heartbeat == same.heartbeat
    failed = calm.run([*calm.usual()[:-1], {"store": {"path": "/proc/nowhere"}}], options=QUICK)
    assert (failed.state, failed.heartbeat) == ("failed", same.heartbeat)
    fill(calm.home / "state.db", 1)
    assert calm.run(options=QUICK).heartbeat is None


def test_the_agent_ends_with_a_glance_as_a_process_of_its_own(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two seconds are what it takes for everything to be settled, and no more."""
    monkeypatch.undo()
    for state in ("done", "unchanged"):
        time.sleep(2.1 if state == "done" else 0)
        agent = site.start(None, "--if-changed", "--json")
        out, err = agent.communicate(timeout=60)
        assert (agent.returncode, json.loads(out)["state"]) == (0, state), err
    wait_until(lambda: "by its marks" in compared(site), 5)
