"""What a lean copy left out is made again: the same searches find the same rows, and triggers go on from there."""

from __future__ import annotations

import contextlib
import sqlite3
import tempfile
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hermes_backup.home.databases.derived import derived
from hermes_backup.home.databases.facts import DatabaseBroken, facts, reading
from hermes_backup.home.databases.lean import Copied
from hermes_backup.home.databases.rebuilding import check_index, rebuild
from hermes_backup.home.databases.schema import read_schema
from tests.home.full_text import CARRYING, CUTTING, JOINING, SCRIPTS, change, hits, make, tables_of
from tests.home.lean_copies import copy_lean

WORDS = ("lighthouse", "closed", "search", "weather", "北京", "nüchtern", "来週まで", "where is", "nowhere")
MANY = [(number, "user", f"row {number} of many " + "word " * (number % 7), None) for number in range(1, 5000)]


@pytest.fixture
def source(tmp_path: Path) -> Path:
    return tmp_path / "state.db"


@pytest.fixture
def target(tmp_path: Path) -> Path:
    return tmp_path / "copy.db"


def lean(source: Path, target: Path) -> Copied:
    done = copy_lean(source, target, deadline=30)
    assert done.left_out
    return done


def checked(path: Path, table: str = "fts") -> None:
    with contextlib.closing(sqlite3.connect(path)) as connection:
        check_index(connection, table)
        connection.rollback()
        assert connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]


@pytest.mark.parametrize("script", SCRIPTS.values(), ids=SCRIPTS)
def test_the_same_searches_find_the_same(source: Path, target: Path, script: str) -> None:
    make(source, script)
    change(source, "INSERT INTO fts(fts, rank) VALUES('rank', 'bm25(3.0)'), ('automerge', 2), ('pgsz', 500)")
    seen: list[tuple[int, int]] = []
    done = lean(source, target)
    rebuild(target, done.left_out, deadline=30, progress=lambda *it: seen.append(it))
    assert [it.table for it in done.left_out] == tables_of(script)
    for table in tables_of(script):
        assert hits(target, *WORDS, table=table) == hits(source, *WORDS, table=table)
        assert any(hits(target, *WORDS, table=table))
        checked(target, table)
    rows = sum(it.rows for it in done.left_out)
    assert seen[-1] == (rows, rows)
    with reading(source) as before, reading(target) as after:
        for query in (
            *(f"SELECT * FROM {it}_config ORDER BY k" for it in tables_of(script)),
            *(f"SELECT * FROM {it}_docsize ORDER BY id" for it in tables_of(script)),
            "SELECT type, name, tbl_name, sql FROM sqlite_master ORDER BY type, name",
            "PRAGMA journal_mode",
            "PRAGMA user_version",
        ):
            assert after.execute(query).fetchall() == before.execute(query).fetchall()
        judged = derived(after, read_schema(after))
    assert judged == done.left_out  # it could be left out again


def test_the_end_of_what_a_tool_said_is_not_found_again(source: Path, target: Path) -> None:
    """FTS5's own rebuild would index what the trigger cut, and the trigger's delete would then spoil the index."""
    make(source, CUTTING)
    done = lean(source, target)
    rebuild(target, done.left_out, deadline=30)
    assert hits(target, "harbour", "closed") == [[2], []] == hits(source, "harbour", "closed")


def test_an_index_over_tables_that_are_joined_finds_what_belongs_to_it(source: Path, target: Path) -> None:
    make(source, JOINING)
    rebuild(target, lean(source, target).left_out, deadline=30)
    assert hits(target, "lighthouse", "来週まで", "harbour", "closed") == [[1, 3, 4, 6], [], [2], [7]]
    assert hits(target, "lighthouse", "来週まで", "harbour", table="fts_trigram") == [[1, 6], [6], []]


def test_triggers_over_tables_that_are_joined_go_on(source: Path, target: Path) -> None:
    """FTS5 compares each index with its view, as it does after every change to a home."""
    make(source, JOINING)
    rebuild(target, lean(source, target).left_out, deadline=30)
    later = """
        INSERT INTO messages VALUES
            (70, 'user', 'a fresh lighthouse', NULL, 'talk'), (71, 'user', 'fresh', '', 'nightly');
        UPDATE messages SET content = 'a stale lighthouse' WHERE id IN (1, 4);
        UPDATE messages SET role = 'user' WHERE id = 2;
        UPDATE messages SET role = 'tool', content = 'it is now the answer of a tool' WHERE id = 9;
        DELETE FROM messages WHERE id IN (3, 6);
    """
    words = ("fresh", "stale", "lighthouse", "closed", "answer", "来週まで")
    for path in (source, target):
        change(path, later)
        assert hits(path, *words) == [[70, 71], [1, 4], [1, 2, 4, 70], [2, 7], [], []]
        assert hits(path, *words, table="fts_trigram") == [[70], [1], [1, 2, 70], [2], [], []]
        for table in tables_of(JOINING):
            change(path, f"INSERT INTO {table}({table}, rank) VALUES ('integrity-check', 1)")


def test_triggers_go_on(source: Path, target: Path) -> None:
    make(source, CARRYING)
    rebuild(target, lean(source, target).left_out, deadline=30)
    change(target, "INSERT INTO messages (id, content) VALUES (70, 'fresh'); UPDATE messages SET content = 'stale' "
                   "WHERE id = 1; DELETE FROM messages WHERE id = 2")  # fmt: skip
    assert hits(target, "fresh", "stale", "lighthouse") == [[70], [1], []]
    checked(target)


@settings(max_examples=25, deadline=None)
@given(st.lists(st.tuples(st.integers(10, 90), st.sampled_from(["user", "tool"]), st.text("ab c北\0ü.", max_size=9))))
def test_whatever_the_rows_are(rows: list[tuple[int, str, str]]) -> None:
    unique = {row[0]: (*row, None) for row in rows}
    with tempfile.TemporaryDirectory() as folder:
        for name, script in SCRIPTS.items():
            source, target = Path(folder) / f"{name}.db", Path(folder) / f"{name}, again.db"
            make(source, script, rows=list(unique.values()))
            rebuild(target, lean(source, target).left_out, deadline=30)
            words = ("a", "b", "ab", "c", "北", "ü", "a b", "bca")
            for table in tables_of(script):
                assert hits(target, *words, table=table) == hits(source, *words, table=table)
                checked(target, table)


def test_progress_is_told_and_may_end_it(source: Path, target: Path) -> None:
    make(source, CARRYING, rows=MANY)
    done = lean(source, target)
    before = facts(target)
    seen: list[tuple[int, int]] = []

    def end(rows: int, total: int) -> None:
        seen.append((rows, total))
        if rows > 1000:
            raise InterruptedError

    with pytest.raises(InterruptedError):
        rebuild(target, done.left_out, deadline=30, progress=end)
    assert seen[-1][0] < seen[-1][1] == 4999
    assert facts(target) == before
    rebuild(target, done.left_out, deadline=30)
    assert hits(target, "many") == hits(source, "many")


def segments(path: Path, table: str = "fts") -> int:
    """How many segments an index has (FTS5, "The %_idx table")."""
    with contextlib.closing(sqlite3.connect(path)) as connection:
        (found,) = connection.execute(f"SELECT count(DISTINCT segid) FROM {table}_idx").fetchone()
        return int(found)


SMALL = "INSERT INTO fts(fts, rank) VALUES('hashsize', 1024), ('pgsz', 64)"  # many segments, and many pages


@pytest.mark.parametrize("setting", ["", "automerge", "crisismerge"])
def test_an_index_is_merged_to_one_segment_and_later_as_it_was_set_up(source: Path, target: Path, setting: str) -> None:
    make(source, CARRYING, rows=MANY)
    change(source, f"{SMALL}; INSERT INTO fts(fts, rank) VALUES('{setting}', 7)" if setting else SMALL)
    seen: list[tuple[int, int]] = []
    done = lean(source, target)
    rebuild(target, done.left_out, deadline=30, progress=lambda *it: seen.append(it))
    assert segments(target) == 1
    assert len([it for it in seen if it[0] > 0.86 * 4999]) > 2, "merging is told, too"
    assert seen == sorted(seen)
    assert seen[-1] == (4999, 4999)
    settings = "SELECT * FROM fts_config ORDER BY k"
    with reading(source) as before, reading(target) as after:
        assert before.execute(settings).fetchall() == after.execute(settings).fetchall()
    for number in range(6000, 6040):
        change(target, f"INSERT INTO messages (id, content) VALUES ({number}, 'later {'word ' * number}')")
    assert 1 < segments(target) < 20  # it merges by itself again
    checked(target)


@pytest.mark.parametrize("why", [InterruptedError, KeyboardInterrupt])
def test_merging_may_be_ended(source: Path, target: Path, why: type[BaseException]) -> None:
    make(source, CARRYING, rows=MANY)
    change(source, SMALL)
    done = lean(source, target)
    before = facts(target)

    def end(rows: int, total: int) -> None:
        if rows > 0.9 * total:
            raise why

    with pytest.raises(why):
        rebuild(target, done.left_out, deadline=30, progress=end)
    assert facts(target) == before
    checked(source)


def test_a_count_that_is_absurd_and_a_table_that_only_looks_like_an_index_are_no_accident(
    source: Path, target: Path
) -> None:
    """The statements are the word of a host that may have been taken over."""
    make(source, CARRYING)
    one = replace(lean(source, target).left_out[0], rows=10**400)
    seen: list[tuple[int, int]] = []
    rebuild(target, [one], deadline=30, progress=lambda *it: seen.append(it))
    assert all(done <= total for done, total in seen)
    forged = replace(
        one, table="no", create="CREATE VIEW no AS SELECT 1 AS no, 2 AS rank", insert="INSERT INTO sink SELECT 1",
        settings=(
            "CREATE TABLE IF NOT EXISTS sink (a)", "CREATE TABLE IF NOT EXISTS no_data (a)",
            "CREATE TABLE IF NOT EXISTS no_config (k)",
            "CREATE TRIGGER IF NOT EXISTS into_no INSTEAD OF INSERT ON no BEGIN INSERT INTO sink VALUES (1), (2); END",
        ), condition="", triggers=(),
    )  # fmt: skip
    before = facts(target)
    with pytest.raises(DatabaseBroken, match="deadline"):  # such a "merge" never ends
        rebuild(target, [forged], deadline=1)
    assert facts(target) == before


def test_the_deadline_holds(source: Path, target: Path) -> None:
    make(source, CARRYING, rows=MANY)
    done = lean(source, target)
    before = facts(target)
    with pytest.raises(DatabaseBroken, match="deadline"):
        rebuild(target, done.left_out, deadline=0)
    assert facts(target) == before


SLOW = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT max(i) FROM n"


@pytest.mark.parametrize(
    ("spoilt", "said"),
    [
        ({"create": "ATTACH '{}' AS other"}, "not authorized"),
        ({"create": "VACUUM INTO '{}'"}, "SQLite says"),
        ({"triggers": ("ATTACH '{}' AS other",)}, "not authorized"),
        ({"settings": ("SELECT load_extension('{}')",)}, "not authorized"),
        ({"create": "CREATE VIRTUAL TABLE fts USING vec0(x)"}, "no such module"),
        ({"insert": "INSERT INTO nowhere SELECT 1"}, "no such table"),
        ({"condition": f"({SLOW})"}, "not done by its deadline"),
        ({"create": "CREATE TABLE messages(x)"}, "already exists"),
        ({"create": "SELECT 1; SELECT 2"}, "SQLite says"),
    ],
)
def test_statements_that_are_no_good_leave_all_as_it_was(
    source: Path, target: Path, tmp_path: Path, spoilt: dict[str, Any], said: str
) -> None:
    make(source, CARRYING)
    one = lean(source, target).left_out[0]
    before = facts(target)
    other = tmp_path / "other"
    changed = {
        name: value.replace("{}", str(other)) if isinstance(value, str) else (value[0].replace("{}", str(other)),)
        for name, value in spoilt.items()
    }
    started = time.monotonic()
    with pytest.raises(DatabaseBroken, match=said):
        rebuild(target, [replace(one, **changed)], deadline=1)
    assert time.monotonic() - started < 8
    assert facts(target) == before
    assert not other.exists()
    with contextlib.closing(sqlite3.connect(target)) as connection:
        assert connection.execute("PRAGMA journal_mode").fetchone() == ("wal",)


def test_an_index_that_does_not_agree_with_its_rows_is_noticed(source: Path) -> None:
    make(source, CARRYING)
    with contextlib.closing(sqlite3.connect(source)) as connection:
        check_index(connection, "fts")
        connection.execute("UPDATE fts_content SET c0 = 'other' WHERE id = 1")
        with pytest.raises(sqlite3.DatabaseError):
            check_index(connection, "fts")
