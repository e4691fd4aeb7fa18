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

from hermes_backup.home.databases.authorizer import StatementRefused
from hermes_backup.home.databases.contents import read_contents
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


def test_a_count_that_is_absurd_is_no_accident(source: Path, target: Path) -> None:
    """It is the word of a host that may have been taken over."""
    make(source, CARRYING)
    one = replace(lean(source, target).left_out[0], rows=10**400)
    seen: list[tuple[int, int]] = []
    rebuild(target, [one], deadline=30, progress=lambda *it: seen.append(it))
    assert all(done <= total for done, total in seen)


def test_the_deadline_holds(source: Path, target: Path) -> None:
    make(source, CARRYING, rows=MANY)
    done = lean(source, target)
    before = facts(target)
    with pytest.raises(DatabaseBroken, match="deadline"):
        rebuild(target, done.left_out, deadline=0)
    assert facts(target) == before


SLOW = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT max(i) FROM n"
ENDLESS = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n)"
ONE = "INSERT INTO messages (id, content) VALUES (77, 'smuggled')"
INTO_SINK = "CREATE TRIGGER t AFTER INSERT ON messages BEGIN INSERT INTO sink VALUES (1); END"
HOSTILE: list[tuple[dict[str, Any], str]] = [
    ({"create": "ATTACH '{}' AS other"}, "ATTACH"),
    ({"triggers": ("ATTACH '{}' AS other",)}, "a trigger that does more"),
    ({"settings": ("SELECT load_extension('{}')",)}, "not authorized|FUNCTION load_extension"),
    ({"settings": ("SELECT zeroblob(1000000000)",)}, "FUNCTION zeroblob"),
    ({"create": "CREATE VIRTUAL TABLE fts USING vec0(x)"}, "CREATE VTABLE fts|no such module"),
    ({"create": "CREATE VIRTUAL TABLE other USING fts5(x)"}, "CREATE VTABLE other"),
    ({"create": "CREATE VIRTUAL TABLE fts USING fts4(x)"}, "CREATE VTABLE fts"),
    ({"create": "CREATE VIEW fts AS SELECT 1 AS fts, 2 AS rank"}, "CREATE VIEW fts"),
    ({"create": "CREATE TABLE fts(fts, rank)"}, "CREATE TABLE fts"),
    ({"create": "CREATE TABLE messages(x)"}, "CREATE TABLE messages|already exists"),
    ({"create": "CREATE TABLE fts_data(x)"}, "makes something else"),
    ({"create": "SELECT 1"}, "makes something else"),
    ({"table": "messages", "create": "SELECT 1"}, "called messages already"),
    ({"table": "MESSAGES", "create": "SELECT 1"}, "called MESSAGES already"),
    ({"settings": ("DELETE FROM messages",)}, "DELETE messages"),
    ({"settings": ("UPDATE messages SET content = 'other'",)}, "UPDATE messages"),
    ({"settings": (ONE,)}, "INSERT messages"),
    ({"insert": "INSERT INTO messages (id) SELECT 77"}, "INSERT messages"),
    ({"insert": "DELETE FROM messages"}, "DELETE messages"),
    ({"insert": "INSERT INTO sink SELECT 1"}, "INSERT sink"),
    ({"settings": ("DROP TABLE messages",)}, "DROP TABLE messages|DELETE sqlite_master"),
    ({"settings": ("ALTER TABLE messages ADD COLUMN more",)}, "ALTER TABLE"),
    ({"settings": ("CREATE TABLE fts_more (a)",)}, "sqlite_master"),
    ({"settings": ("CREATE TEMP TABLE fts (a)",)}, "sqlite_temp_master|sqlite_master|TEMP"),
    ({"settings": ("CREATE INDEX i ON messages (content)",)}, "sqlite_master"),
    ({"settings": ("CREATE VIEW v AS SELECT 1",)}, "sqlite_master"),
    ({"settings": (INTO_SINK,)}, "CREATE TRIGGER t"),
    ({"settings": ("PRAGMA journal_mode=OFF",)}, "PRAGMA journal_mode"),
    ({"settings": ("PRAGMA writable_schema=ON",)}, "PRAGMA writable_schema"),
    ({"settings": ("DELETE FROM sqlite_master",)}, "DELETE sqlite_master|may not be modified"),
    ({"settings": ("COMMIT",)}, "TRANSACTION COMMIT"),
    ({"settings": ("SAVEPOINT s",)}, "SAVEPOINT BEGIN"),
    ({"settings": ("ANALYZE",)}, "sqlite_master"),
    ({"triggers": (INTO_SINK,)}, "a trigger that does more"),
    ({"triggers": ("DELETE FROM messages",)}, "a trigger that does more"),
    ({"triggers": (ONE,)}, "a trigger that does more"),
]
USELESS: list[tuple[dict[str, Any], str]] = [
    ({"create": "VACUUM INTO '{}'"}, "SQLite says|ATTACH"),
    ({"insert": "INSERT INTO nowhere SELECT 1"}, "no such table"),
    ({"create": "CREATE VIRTUAL TABLE fts USING fts5(content, tokenize='nosuch')"}, "no such tokenizer|SQL logic"),
    ({"condition": f"({SLOW})"}, "not done by its deadline"),
    ({"insert": f"INSERT INTO fts (content) {ENDLESS} SELECT printf('%500d', i) FROM n"}, "more than [0-9]+ bytes"),
    ({"create": "SELECT 1; SELECT 2"}, "SQLite says"),
]


@pytest.mark.parametrize(("spoilt", "said"), [*HOSTILE, *USELESS])
def test_statements_that_are_no_good_leave_all_as_it_was(
    source: Path, target: Path, tmp_path: Path, spoilt: dict[str, Any], said: str
) -> None:
    make(source, CARRYING, "CREATE TABLE sink (a);")
    one = lean(source, target).left_out[0]
    before, size = facts(target), target.stat().st_size
    other = tmp_path / "other"
    changed = {
        name: value.replace("{}", str(other)) if isinstance(value, str) else (value[0].replace("{}", str(other)),)
        for name, value in spoilt.items()
    }
    started = time.monotonic()
    with pytest.raises(DatabaseBroken, match=said):
        rebuild(target, [replace(one, **changed)], deadline=1)
    assert time.monotonic() - started < 8
    assert (facts(target), target.stat().st_size) == (before, size)
    assert not other.exists()
    with contextlib.closing(sqlite3.connect(target)) as connection:
        assert connection.execute("PRAGMA journal_mode").fetchone() == ("wal",)


def test_a_table_that_was_there_before_is_no_index_s_own(source: Path, target: Path) -> None:
    """Its name is that of a table which FTS5 keeps, and does not make here."""
    make(source, CUTTING)
    one = lean(source, target).left_out[0]
    change(target, "CREATE TABLE fts_content (id); INSERT INTO fts_content VALUES (1)")
    before = facts(target)
    with pytest.raises(StatementRefused, match="DELETE fts_content"):
        rebuild(target, [replace(one, settings=("DELETE FROM fts_content",))], deadline=30)
    assert facts(target) == before
    rebuild(target, [one], deadline=30)
    assert hits(target, "lighthouse") == hits(source, "lighthouse")


def test_triggers_of_the_database_itself_write_nothing_elsewhere(source: Path, target: Path) -> None:
    """Where a key says that rows go with those of an index's own table, or a trigger was made with an index before."""
    make(source, JOINING)
    one, other = lean(source, target).left_out
    change(target, "CREATE TABLE child (a REFERENCES fts_docsize(id) ON DELETE CASCADE); INSERT INTO child VALUES (1)")
    change(target, "CREATE TRIGGER away AFTER INSERT ON messages BEGIN DELETE FROM child; END")
    before = facts(target).tables
    for spoilt in (
        replace(other, settings=("INSERT INTO messages (id) VALUES (77)",)),
        replace(other, insert="INSERT INTO messages (id) SELECT 77"),
    ):
        with pytest.raises(StatementRefused, match="INSERT messages"):
            rebuild(target, [one, spoilt], deadline=30)
        assert facts(target).tables == before
    rebuild(target, [replace(one, settings=("DELETE FROM fts_docsize",)), other], deadline=30)
    after = facts(target).tables
    assert {it: after[it] for it in before} == before


VERBS = ["INSERT INTO {0} VALUES (1)", "INSERT OR REPLACE INTO {0} DEFAULT VALUES", "DELETE FROM {0}", "DROP TABLE {0}",
         "UPDATE {0} SET rowid = rowid + 1", "CREATE TABLE {0} (a)", "ALTER TABLE {0} RENAME TO gone",
         "CREATE TRIGGER t AFTER INSERT ON {0} BEGIN DELETE FROM messages; END", "REPLACE INTO {0} SELECT 1",
         "WITH x AS (SELECT 1) DELETE FROM {0}", "INSERT INTO {0} SELECT * FROM {0} WHERE 0", "ANALYZE {0}",
         "CREATE INDEX i ON {0} (1)", "CREATE VIRTUAL TABLE {0} USING fts5(a)", "DROP VIEW {0}"]  # fmt: skip
TABLES = ["messages", "sink", "seen", "fts", "fts_data", "fts_content", "FTS_CONTENT", "fts_config", "main.messages",
          "sqlite_master", "temp.fts", "fts_other", "other", '"messages"']  # fmt: skip
STATEMENTS = st.builds(str.format, st.sampled_from(VERBS), st.sampled_from(TABLES))


@settings(max_examples=40, deadline=None)
@given(
    spoilt=st.fixed_dictionaries(
        {},
        optional={
            "create": STATEMENTS,
            "insert": STATEMENTS,
            "settings": st.tuples(STATEMENTS, STATEMENTS),
            "triggers": st.tuples(STATEMENTS),
        },
    )
)
def test_whatever_the_statements_are_no_other_table_changes(spoilt: dict[str, Any]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        target = Path(folder, "copy.db")
        source = make(Path(folder, "state.db"), CARRYING, "CREATE TABLE sink (a); CREATE VIEW seen AS SELECT 1;")
        one = lean(source, target).left_out[0]
        before = everything(target)
        with contextlib.suppress(DatabaseBroken):
            rebuild(target, [replace(one, **spoilt)], deadline=20)
        assert {name: it for name, it in everything(target).items() if not name.startswith("fts")} == before


def everything(path: Path) -> dict[str, object]:
    """How each table, view and trigger is made, and what it holds."""
    with reading(path) as connection:
        schema = read_schema(connection)
        held = read_contents(connection, schema)
        return {it.name: (it.sql, held.get(it.name)) for it in schema}


def test_an_index_that_does_not_agree_with_its_rows_is_noticed(source: Path) -> None:
    make(source, CARRYING)
    with contextlib.closing(sqlite3.connect(source)) as connection:
        check_index(connection, "fts")
        connection.execute("UPDATE fts_content SET c0 = 'other' WHERE id = 1")
        with pytest.raises(sqlite3.DatabaseError):
            check_index(connection, "fts")
