"""The sample home is one: what a real home has is there, quickly made, the same each time."""

from __future__ import annotations

import os
import sqlite3
import time
from pathlib import Path

import pytest

from hermes_backup.home.databases.copying import copy
from hermes_backup.home.sample import make_sample
from hermes_backup.home.selection import Rules
from tests.held import find, select
from tests.home.making import fingerprint


def test_it_is_made_in_under_a_second(tmp_path: Path) -> None:
    started = time.process_time()
    make_sample(tmp_path / "home")
    assert time.process_time() - started < 1
    files = [path for path in (tmp_path / "home").rglob("*") if path.is_file()]
    assert 5_000_000 < sum(path.stat().st_size for path in files) < 20_000_000


def test_it_holds_what_a_home_holds_and_some_that_is_left_out(tmp_path: Path) -> None:
    make_sample(tmp_path)
    chosen = select(tmp_path, Rules())
    kept = {os.fsdecode(entry.name): entry for entry in chosen.entries}
    assert {"SOUL.md", "memories/MEMORY.md", "memories/USER.md", "config.yaml", "cron/jobs.json"} <= kept.keys()
    assert {"skills/weather/scripts/weather.sh", "profiles/research/state.db", "cache/images/sunset.jpg"} <= kept.keys()
    assert kept["skills/weather/scripts/weather.sh"].mode & 0o111
    assert kept[".env"].mode & 0o777 == kept["auth.json"].mode & 0o777 == 0o600
    assert kept["workspace/latest"].kind == "link"
    assert chosen.excluded_entries >= 8
    assert chosen.bytes < 3_000_000


def test_its_databases_can_be_copied_and_searched(tmp_path: Path) -> None:
    home = tmp_path / "home"
    make_sample(home)
    before = fingerprint(home)
    found = find(home, select(home, Rules()))
    assert {(one.name, one.kind, one.journal) for one in found} == {
        (name, "live", "wal") for name in (b"kanban.db", b"profiles/research/state.db", b"state.db")
    }
    facts = copy(home / "state.db", tmp_path / "copy.db", deadline=10)
    assert (facts.tables["sessions"], facts.tables["messages"]) == (30, 1200)
    assert fingerprint(home) == before
    copied = sqlite3.connect(tmp_path / "copy.db")
    (hits,) = copied.execute("SELECT count(*) FROM messages_fts WHERE messages_fts MATCH 'lisbon'").fetchone()
    copied.close()
    assert hits > 0


def test_it_is_the_same_each_time(tmp_path: Path) -> None:
    for name in ("a", "b"):
        make_sample(tmp_path / name)
    one, other = (
        {
            path.relative_to(tmp_path / name): path.read_bytes()
            for path in (tmp_path / name).rglob("*")
            if path.is_file()
        }
        for name in ("a", "b")
    )
    assert one == other


def test_it_never_goes_where_something_is(tmp_path: Path) -> None:
    (tmp_path / "SOUL.md").write_text("mine")
    with pytest.raises(FileExistsError):
        make_sample(tmp_path)
    assert (tmp_path / "SOUL.md").read_text() == "mine"
