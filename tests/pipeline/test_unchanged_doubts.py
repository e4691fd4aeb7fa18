"""``if_changed`` where marks could deceive: then the home is compared by content."""

from __future__ import annotations

import json
import mmap
import shutil
from collections.abc import Callable
from typing import Any

import pytest

from hermes_backup.home import timekeeping
from hermes_backup.home.selection import Rules
from hermes_backup.pipeline import marked
from hermes_backup.pipeline.agent import Options
from hermes_backup.stages.sqlite import Sqlite
from hermes_backup.stages.things import Home
from tests.held import select, take
from tests.home.making import next_line, running
from tests.pipeline.calm import QUICK, calm, compared, quick_to_settle, settle
from tests.site import Site

__all__ = ["calm", "quick_to_settle"]
pytestmark = pytest.mark.usefixtures("quick_to_settle")
LAST = Options("test", if_changed=True, keep=True)
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
