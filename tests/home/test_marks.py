"""Marks of a home: any single fact that is another makes another mark, and what is none of a backup's makes none."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Sequence
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from hermes_backup.home.marks import Marks, Seen, difference, digest, told
from hermes_backup.home.selection import Entry, Rules
from hermes_backup.home.timekeeping import SETTLED_NS, settled
from tests.held import select, take, untold
from tests.home.making import make_database, next_line, running, where_mounting_works

NUMBER = st.integers(0, 2**64)
NAME = st.binary(min_size=1, max_size=12)
ENTRY = st.builds(
    Entry,
    name=NAME,
    kind=st.sampled_from(["file", "dir", "link"]),
    size=NUMBER,
    mode=NUMBER,
    inode=NUMBER,
    device=NUMBER,
    mtime_ns=st.integers(-(2**62), 2**62),
    uid=NUMBER,
    gid=NUMBER,
    ctime_ns=st.integers(-(2**62), 2**62),
)
SEEN = st.builds(
    Seen, ENTRY, st.binary(max_size=9), st.lists(st.tuples(st.text(max_size=9), st.binary(max_size=9))).map(tuple)
)
NOT_OF_FOLDERS = ("size", "mtime_ns", "ctime_ns")


def marked(seen: Sequence[Seen]) -> str:
    return digest(told(it) for it in seen)


def other(value: Any, draw: Any) -> Any:
    """Another value of the same kind."""
    if isinstance(value, int):
        return draw(NUMBER)
    if isinstance(value, bytes):
        return draw(NAME)
    return draw(st.sampled_from(["file", "dir", "link"]))


@given(st.lists(SEEN, min_size=1, max_size=5), st.data())
def test_any_single_change_is_seen(home: list[Seen], data: st.DataObject) -> None:
    at = data.draw(st.integers(0, len(home) - 1))
    one = home[at]
    what = data.draw(st.sampled_from([it.name for it in fields(Entry)] + ["link", "attributes"]))
    if what == "link":
        changed = replace(one, link=data.draw(st.binary(max_size=9)))
    elif what == "attributes":
        changed = replace(one, attributes=(*one.attributes, ("user.more", b"")))
    else:
        changed = replace(one, entry=replace(one.entry, **{what: other(getattr(one.entry, what), data.draw)}))
    assume(changed != one)
    after = [*home[:at], changed, *home[at + 1 :]]
    nothing = what in NOT_OF_FOLDERS and one.entry.kind == "dir"
    assert (marked(after) == marked(home)) == nothing


@given(st.lists(SEEN, max_size=5), st.lists(SEEN, max_size=5))
def test_two_homes_have_one_mark_only_where_they_are_the_same(one: list[Seen], two: list[Seen]) -> None:
    assert (marked(one) == marked(two)) == ([told(it) for it in one] == [told(it) for it in two])


@given(NUMBER, NUMBER)
def test_only_what_is_clearly_older_is_settled(newest: int, now: int) -> None:
    assert settled(newest, now) == (now - newest > SETTLED_NS)
    assert not settled(now + 1, now), "of the future"


def looked(home: Path, *databases: bytes) -> Marks:
    return take(home, select(home, Rules()), databases)


@pytest.fixture
def home(tmp_path: Path) -> Path:
    (tmp_path / "home" / "cron").mkdir(parents=True)
    make_database(tmp_path / "home" / "state.db")
    (tmp_path / "home" / "current").symlink_to("cron")
    return tmp_path / "home"


def test_a_log_in_any_chosen_folder_counts_by_its_start(home: Path) -> None:
    nothing = looked(home)
    log = home / "cron" / "executions.db-wal"
    log.touch()
    assert looked(home) == nothing, "an empty one says nothing"
    log.write_bytes(b"a" * 100)
    first = looked(home)
    assert difference(nothing, first) == "the logs of its databases"
    dates = log.stat()
    with log.open("r+b") as file:
        file.write(b"other salts")
    os.utime(log, ns=(dates.st_atime_ns, dates.st_mtime_ns))
    assert difference(first, looked(home)) == "the logs of its databases"
    again = looked(home)
    os.chown(log, os.geteuid(), os.getegid())
    assert looked(home) == again, "as SQLite does for root at each opening"
    (home / "logs").mkdir()
    (home / "logs" / "other.db-wal").write_bytes(b"a")
    assert looked(home) == again, "what is left out has no logs that count"


@pytest.mark.parametrize(("at", "what"), [(24, "the file change counter"), (96, "the version that wrote it last")])
def test_the_header_of_a_database_counts(home: Path, at: int, what: str) -> None:
    before = looked(home, b"state.db")
    with (home / "state.db").open("r+b") as file:
        file.seek(at)
        file.write(b"\xff\xff\xff\xff")
    now = looked(home, b"state.db")
    assert replace(before, entries=now.entries, newest=now.newest) != now, what
    assert difference(replace(before, entries=now.entries, newest=now.newest), now) == "its databases"


def test_the_header_of_the_index_of_a_log_counts_and_its_times_do_not(home: Path) -> None:
    shared = home / "state.db-shm"
    (home / "state.db-wal").write_bytes(b"a log")
    shared.write_bytes(bytes(200))
    before = looked(home, b"state.db")
    shared.write_bytes(bytes(100) + b"read marks" + bytes(90))
    assert looked(home, b"state.db") == before
    shared.write_bytes(b"\1" + bytes(199))
    assert difference(before, looked(home, b"state.db")) == "its databases"


def test_a_commit_of_another_process_shows_in_the_index_alone(home: Path) -> None:
    """Whatever the times of the log say."""
    agent = sqlite3.connect(home / "state.db", isolation_level=None)
    agent.execute("INSERT INTO a (text) VALUES ('one')")
    before = _state(home)
    agent.execute("INSERT INTO a (text) VALUES ('two')")
    after = _state(home)
    agent.close()
    assert before != after


def _state(home: Path) -> bytes:
    """The part of the index that is looked at, read by a child: to close it here would free the agent's locks."""
    reader, writer = os.pipe()
    if os.fork() == 0:
        os.write(writer, looked(home, b"state.db").databases[0].state.encode())
        os._exit(0)
    os.close(writer)
    os.wait()
    with os.fdopen(reader, "rb") as said:
        return said.read()


def test_what_cannot_be_looked_at_has_a_mark_too(home: Path) -> None:
    seen = select(home, Rules())
    whole = take(home, seen, [b"state.db"])
    (home / "current").unlink()
    (home / "cron").rmdir()
    gone = take(home, seen, [b"state.db", b"no.db"])
    assert difference(whole, gone) == "its files"


_MOUNTED = """
import subprocess, sys
from pathlib import Path
from hermes_backup.home.selection import Rules
from tests.held import select, untold
home = Path(sys.argv[1])
print(untold(home, select(home, Rules(one_file_system=False))), flush=True)
subprocess.run(["mount", "-t", "tmpfs", "tmpfs", "/mnt"], check=True)
Path("/mnt/SOUL.md").write_text("I am.")
subprocess.run(["mount", "--bind", "/mnt/SOUL.md", home / "SOUL.md"], check=True)
print(untold(home, select(home, Rules(one_file_system=False))), flush=True)
"""


def test_a_single_file_of_another_file_system_is_enough_to_believe_no_times(home: Path) -> None:
    for name in ("AGENTS.md", "SOUL.md", "USER.md"):
        (home / name).touch()
    if untold(home, select(home, Rules())):
        pytest.skip("the folder of the tests is on a file system whose times do not tell")
    with running(_MOUNTED, str(home), prefix=where_mounting_works()) as process:
        assert next_line(process) == ""
        assert next_line(process) == "its file system, of type 0x1021994, does not tell of every write"


def test_a_home_that_took_anothers_place(home: Path) -> None:
    before = looked(home)
    home.rename(home.with_name("old"))
    assert difference(before, looked(home.with_name("old"))) == "it is another folder", "by its path"
    home.mkdir()
    (home / "SOUL.md").write_text("I am.\n")
    assert difference(before, looked(home)) == "it is another folder", "by its inode"
