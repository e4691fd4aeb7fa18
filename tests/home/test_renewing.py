"""Copies whose search indexes are made anew: nothing is missing, and what was damaged at home is whole."""

from __future__ import annotations

import contextlib
import sqlite3
import time
from pathlib import Path

import pytest

from hermes_backup.home.databases.contents import read_contents
from hermes_backup.home.databases.facts import DatabaseBroken, facts, reading
from hermes_backup.home.databases.rebuilding import check_index
from hermes_backup.home.databases.renewing import copy_renewed
from hermes_backup.home.databases.schema import read_schema
from tests.home.full_text import CARRYING, SCRIPTS, change, hits, make, tables_of
from tests.home.lean_copies import copy_lean

WORDS = ("lighthouse", "closed", "search", "weather", "北京", "nüchtern", "where is", "nowhere")
MANY = [(number, "user", f"row {number} of many " + "word " * (number % 7), None) for number in range(1, 3000)]
OWN = "CREATE VIRTUAL TABLE own USING fts5(text); INSERT INTO own VALUES ('nowhere else');"
# the index of other rows under the same ids, as if some of its own had been lost
OTHER_INDEX = """
CREATE VIRTUAL TABLE other USING fts5(content);
INSERT INTO other(rowid, content) SELECT rowid, replace(content, 'lighthouse', 'tower') FROM fts;
DELETE FROM fts_data; INSERT INTO fts_data SELECT * FROM other_data;
DELETE FROM fts_idx; INSERT INTO fts_idx SELECT * FROM other_idx;
DROP TABLE other;
"""


@pytest.fixture
def source(tmp_path: Path) -> Path:
    return tmp_path / "state.db"


@pytest.fixture
def target(tmp_path: Path) -> Path:
    return tmp_path / "copy.db"


def own_contents(path: Path) -> dict[str, object]:
    """What every table holds that is no index's."""
    with reading(path) as connection:
        schema = [it for it in read_schema(connection) if not it.name.startswith("fts_")]
        return {**read_contents(connection, schema)}


@pytest.mark.parametrize("script", SCRIPTS.values(), ids=SCRIPTS)
def test_nothing_is_missing(source: Path, target: Path, script: str) -> None:
    make(source, script)
    source.chmod(0o640)
    seen: list[tuple[int, int]] = []
    done = copy_renewed(source, target, deadline=30, progress=lambda *it: seen.append(it), name="state.db")
    assert done.renewed == tuple(tables_of(script))
    assert (done.left_out, done.contents, done.damaged, done.whole) == ((), {}, (), "")
    assert [it.name for it in target.parent.iterdir() if it.name.startswith("copy")] == ["copy.db"]
    assert done.facts == facts(target, name="state.db")
    for table in done.renewed:
        assert hits(target, *WORDS, table=table) == hits(source, *WORDS, table=table)
    assert own_contents(target) == own_contents(source)
    with reading(source) as before, reading(target) as after:
        for query in ("SELECT type, name, sql FROM sqlite_master ORDER BY 1, 2", "PRAGMA journal_mode"):
            assert after.execute(query).fetchall() == before.execute(query).fetchall()
    assert (target.stat().st_mode, target.stat().st_mtime_ns) == (source.stat().st_mode, source.stat().st_mtime_ns)
    assert seen == sorted(seen)
    assert seen[-1] == (source.stat().st_size,) * 2


@pytest.mark.parametrize("damage", ["UPDATE fts_data SET block = x'00' WHERE id > 10", OTHER_INDEX])
def test_an_index_that_is_damaged_at_home_is_whole_in_the_copy(source: Path, target: Path, damage: str) -> None:
    before = hits(make(source, CARRYING), *WORDS)
    change(source, damage)
    done = copy_renewed(source, target, deadline=30)
    assert (done.renewed, done.damaged) == (("fts",), ("fts",))
    assert hits(target, *WORDS) == before
    with contextlib.closing(sqlite3.connect(target)) as connection:
        check_index(connection, "fts")


def test_an_index_that_is_in_many_pieces_is_compact_in_the_copy(source: Path, target: Path) -> None:
    make(source, CARRYING, "INSERT INTO fts(fts, rank) VALUES ('automerge', 0), ('crisismerge', 1000);", rows=MANY)
    change(source, "UPDATE messages SET content = content || ' again'")
    copy_renewed(source, target, deadline=30)
    assert target.stat().st_size < source.stat().st_size * 2 / 3


def test_what_is_not_proven_is_kept_as_it_is(source: Path, target: Path) -> None:
    make(source, CARRYING, OWN)
    done = copy_renewed(source, target, deadline=30)
    assert (done.renewed, [it.table for it in done.kept]) == (("fts",), ["own"])
    assert hits(target, "nowhere", table="own") == [[1]]


def test_where_there_is_nothing_to_make_anew_all_is_copied(source: Path, target: Path) -> None:
    done = copy_renewed(make(source, OWN), target, deadline=30)
    assert (done.renewed, done.whole, [it.table for it in done.kept]) == ((), "", ["own"])
    assert own_contents(target) == own_contents(source)


def test_what_is_not_made_anew_in_time_is_copied_as_it_is(source: Path, target: Path) -> None:
    make(source, CARRYING, rows=MANY)
    size = source.stat().st_size

    def slowly(done: int, total: int) -> None:
        if size // 2 < done < total:
            time.sleep(0.6)

    done = copy_renewed(source, target, deadline=0.5, progress=slowly)
    assert (done.renewed, done.whole) == (
        (),
        "its search indexes cannot be made anew: it was not done by its deadline",
    )
    assert hits(target, "word") == hits(source, "word")


def test_a_run_that_is_stopped_leaves_nothing(source: Path, target: Path) -> None:
    make(source, CARRYING, rows=MANY)

    def stop(done: int, total: int) -> None:
        if total // 2 < done < total:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        copy_renewed(source, target, deadline=30, progress=stop)
    assert not target.exists()


@pytest.mark.parametrize("how", [copy_lean, copy_renewed])
def test_the_same_home_gives_the_same_bytes(source: Path, target: Path, how: object) -> None:
    """Else no run would ever be unchanged; what SQLite counts within its file at home is none of the data."""
    make(source, CARRYING, rows=MANY)
    how(source, target, deadline=30)  # type: ignore[operator]
    change(source, "UPDATE messages SET content = content; PRAGMA wal_checkpoint(TRUNCATE)")
    again = target.with_name("again.db")
    how(source, again, deadline=30)  # type: ignore[operator]
    assert again.read_bytes() == target.read_bytes()


def test_a_database_that_is_none(source: Path, target: Path) -> None:
    source.write_bytes(b"no database")
    with pytest.raises(DatabaseBroken):
        copy_renewed(source, target, deadline=30)
    assert not target.exists()
