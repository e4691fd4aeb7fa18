"""Lean copies: nothing but what can be made again is missing, and whatever is odd makes them copies of all."""

from __future__ import annotations

import contextlib
import os
import signal
import sqlite3
import time
from pathlib import Path

import pytest

from hermes_backup.errors import DISK_FULL
from hermes_backup.home.databases import filling
from hermes_backup.home.databases.contents import content
from hermes_backup.home.databases.facts import DatabaseBroken, reading
from hermes_backup.home.databases.tables import read_table
from tests.home.describing import described
from tests.home.full_text import CARRYING, JOINING, SCRIPTS, change, hits, make, tables_of
from tests.home.lean_copies import copy_lean
from tests.home.making import count, drain, fingerprint, next_line, running, where_mounting_works, writer

PAIR = """
CREATE TABLE a (id INTEGER PRIMARY KEY, text TEXT); CREATE TABLE b (id INTEGER PRIMARY KEY, text TEXT);
CREATE VIRTUAL TABLE found USING fts5(text);
CREATE TRIGGER found_insert AFTER INSERT ON a BEGIN INSERT INTO found(rowid, text) VALUES (new.id, new.text); END;
WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 5000)
    INSERT INTO a (text) SELECT 'the text of row ' || i || hex(zeroblob(i % 90)) FROM n;
INSERT INTO b SELECT * FROM a;
"""


@pytest.fixture
def home(tmp_path: Path) -> Path:
    (tmp_path / "home").mkdir()
    return tmp_path / "home"


@pytest.fixture
def target(tmp_path: Path) -> Path:
    return tmp_path / "staged" / "state.db"


def sides(path: Path) -> list[str]:
    return [side for side in ("-wal", "-shm", "-journal") if path.with_name(path.name + side).exists()]


@pytest.mark.parametrize("script", SCRIPTS.values(), ids=SCRIPTS)
@pytest.mark.parametrize("busy", [False, True])
def test_the_index_is_left_out_and_all_else_is_there(home: Path, target: Path, script: str, busy: bool) -> None:
    source = make(home / "state.db", script)
    source.chmod(0o640)
    reader = sqlite3.connect(source)
    if busy:
        reader.execute("SELECT count(*) FROM messages").fetchone()
    before = fingerprint(home, but=("state.db-shm",))
    done = copy_lean(source, target, deadline=20, name="profiles/x/state.db")
    assert fingerprint(home, but=("state.db-shm",)) == before
    reader.close()
    assert (done.whole, [it.table for it in done.left_out], done.kept) == ("", tables_of(script), ())
    assert done.facts.name == "profiles/x/state.db"
    assert not any("fts" in it for it in done.facts.tables)
    assert {name: it.rows for name, it in done.contents.items()} == dict(done.facts.tables)
    assert sides(target) == []
    now, then = target.stat(), source.stat()
    assert (now.st_mode, now.st_uid, now.st_mtime_ns) == (then.st_mode, then.st_uid, then.st_mtime_ns)
    with contextlib.closing(sqlite3.connect(target)) as connection:
        assert connection.execute("PRAGMA journal_mode").fetchone() == ("wal",)
    assert described(target) == described(source, without=done.left_out)


def test_an_index_that_is_damaged_is_left_out_and_told(home: Path, target: Path) -> None:
    source = change(make(home / "state.db", CARRYING), "UPDATE fts_data SET block = x'00' WHERE id > 10")
    done = copy_lean(source, target, deadline=20)
    assert (done.damaged, done.searches) == (("fts",), ())
    assert [it.table for it in done.left_out] == ["fts"]


@pytest.mark.parametrize("script", ["", "CREATE VIRTUAL TABLE fts USING fts5(content);"])
def test_where_nothing_can_be_left_out_all_is_copied(home: Path, target: Path, script: str) -> None:
    source = make(home / "state.db", script)
    done = copy_lean(source, target, deadline=20)
    assert (done.left_out, done.whole, done.contents) == ((), "", {})
    assert [it.table for it in done.kept] == (["fts"] if script else [])
    assert target.read_bytes() == source.read_bytes()


def test_a_kept_table_goes_on_to_answer_beside_one_that_is_left_out(home: Path, target: Path) -> None:
    own = "CREATE VIRTUAL TABLE own USING fts5(note); INSERT INTO own VALUES ('mine alone');"
    less = (
        "CREATE VIRTUAL TABLE less USING fts5(note, content=''); INSERT INTO less(rowid, note) VALUES (3, 'mine too');"
    )
    older = "CREATE VIRTUAL TABLE older USING fts4(note); INSERT INTO older VALUES ('old and mine');"
    tree = "CREATE VIRTUAL TABLE tree USING rtree(id, a, b); INSERT INTO tree VALUES (1, 2, 3);"
    source = make(home / "state.db", CARRYING, own, less, older, tree)
    done = copy_lean(source, target, deadline=20)
    assert {it.table for it in done.kept} == {"own", "less"}
    assert [it.table for it in done.left_out] == ["fts"]
    assert [hits(target, "mine", table=it) for it in ("own", "less", "older")] == [[[1]], [[3]], [[1]]]
    with contextlib.closing(sqlite3.connect(target)) as connection:
        assert connection.execute("SELECT * FROM tree WHERE a > 1").fetchall() == [(1, 2.0, 3.0)]
        assert connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
        connection.execute("INSERT INTO own VALUES ('mine again')")
        connection.rollback()


def test_an_index_whose_session_is_for_something_else_now_stays_with_its_triggers(home: Path, target: Path) -> None:
    source = change(make(home / "state.db", JOINING), "UPDATE sessions SET source = 'cron' WHERE id = 'odd'")
    done = copy_lean(source, target, deadline=20)
    assert ([it.table for it in done.left_out], [it.table for it in done.kept]) == (["fts"], ["fts_trigram"])
    assert described(target) == described(source, without=done.left_out)
    assert hits(target, "lighthouse", "来週まで", table="fts_trigram") == [[1, 6], [6]]
    change(target, "INSERT INTO messages VALUES (70, 'user', 'a lighthouse', NULL, 'talk')")
    assert hits(target, "lighthouse", table="fts_trigram") == [[1, 6, 70]]


def test_a_virtual_table_of_a_module_that_is_not_here_comes_along(home: Path, target: Path) -> None:
    source = make(
        home / "state.db", CARRYING, "CREATE TABLE vectors_chunks (x); INSERT INTO vectors_chunks VALUES (1);"
    )
    change(source, "PRAGMA writable_schema=ON; INSERT INTO sqlite_master VALUES "
                   "('table', 'vectors', 'vectors', 0, 'CREATE VIRTUAL TABLE vectors USING vec0(x)')")  # fmt: skip
    done = copy_lean(source, target, deadline=20)
    assert done.left_out
    assert described(target) == described(source, without=done.left_out)


def test_a_tokenizer_that_is_not_here_keeps_its_table(home: Path, target: Path) -> None:
    source = make(home / "state.db", CARRYING, CARRYING.replace("fts", "cjk").replace("cjk5", "fts5"))
    sql = "'CREATE VIRTUAL TABLE cjk USING fts5(content, tokenize=''cjk'')'"
    change(source, f"PRAGMA writable_schema=ON; UPDATE sqlite_master SET sql = {sql} WHERE name = 'cjk'")
    done = copy_lean(source, target, deadline=20)
    assert ([it.table for it in done.left_out], [it.table for it in done.kept]) == (["fts"], ["cjk"])
    assert done.facts.tables["cjk_content"] == 4


WHOLE = {
    "an index that needs a function": (
        "INSERT INTO sqlite_master VALUES ('index', 'odd', 'messages', (SELECT rootpage FROM sqlite_master "
        "WHERE name = 'by_tool'), 'CREATE INDEX odd ON messages(tool COLLATE klingon)'); "
        "DELETE FROM sqlite_master WHERE name = 'by_tool'",
        "SQLite says: no such collation sequence: klingon",
    ),
    "a statement in another spelling": (
        "UPDATE sqlite_master SET sql = 'create table extra(x)' WHERE name = 'extra'",
        "how extra was made is not understood",
    ),
}


@pytest.mark.parametrize("case", WHOLE)
def test_what_is_odd_makes_it_a_copy_of_all(home: Path, target: Path, case: str) -> None:
    source = make(home / "state.db", CARRYING, "CREATE TABLE extra(x); CREATE INDEX by_tool ON messages(tool);")
    script, reason = WHOLE[case]
    change(source, f"PRAGMA writable_schema=ON; {script}; PRAGMA writable_schema=RESET;")
    done = copy_lean(source, target, deadline=20)
    assert (done.left_out, done.whole) == ((), reason)
    assert target.read_bytes() == source.read_bytes()


@pytest.mark.parametrize(
    ("name", "spoilt", "reason"),
    [
        ("_insertion", "{} WHERE id <> 2", "table messages did not come over as it is"),
        ("_insertion", "{} WHERE 0", "table messages did not come over as it is"),
        (
            "_insertion",
            "INSERT INTO copied.messages SELECT id, role, content, 'x' FROM main.messages",
            "table messages",
        ),
        ("_insertion", "SELECT * FROM nowhere", "SQLite says: "),
    ],
)
def test_a_copy_that_holds_something_else_is_noticed(
    home: Path, target: Path, monkeypatch: pytest.MonkeyPatch, name: str, spoilt: str, reason: str
) -> None:
    source = make(home / "state.db", CARRYING)
    honest = filling._insertion
    monkeypatch.setattr(filling, name, lambda *given: spoilt.format(honest(*given)))
    done = copy_lean(source, target, deadline=20)
    assert done.whole.startswith(reason)
    assert (done.left_out, target.read_bytes()) == ((), source.read_bytes())


def test_a_schema_that_did_not_come_over_is_noticed(home: Path, target: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source = make(home / "state.db", CARRYING, "CREATE VIEW v AS SELECT 1;")
    honest = filling._write_schema
    monkeypatch.setattr(
        filling, "_write_schema", lambda connection, wanted: honest(connection, [it for it in wanted if it.name != "v"])
    )
    assert copy_lean(source, target, deadline=20).whole == "its schema did not come over"
    monkeypatch.setattr(filling, "_write_schema", honest)
    monkeypatch.setattr(filling, "_create", lambda *_: None)
    target.unlink()
    assert copy_lean(source, target, deadline=20).whole.startswith("SQLite says: no such table")


@pytest.mark.parametrize("pause", [0.0, 0.1], ids=["flat out", "ten a second"])
def test_a_writer_goes_on_meanwhile(home: Path, target: Path, pause: float) -> None:
    source = make(home / "state.db", PAIR, rows=[])
    with writer(source, pause=pause) as process:
        acknowledged = int(next_line(process))
        done = copy_lean(source, target, deadline=20)
    assert [it.table for it in done.left_out] == ["found"]
    assert done.facts.tables["a"] == done.facts.tables["b"] >= 5000 + acknowledged
    assert done.left_out[0].rows == done.facts.tables["a"] <= count(source, "a")
    assert sides(target) == []


@pytest.mark.parametrize("with_index", [True, False])
def test_what_a_killed_writer_had_committed_is_there(home: Path, target: Path, with_index: bool) -> None:
    source = make(home / "state.db", PAIR, rows=[])
    with writer(source, checkpoint=0) as process:
        while int(next_line(process)) < 100:
            pass
        process.send_signal(signal.SIGKILL)
        process.wait()
        acknowledged = int(["100", *drain(process)][-1])
    if not with_index:
        (home / "state.db-shm").unlink()
    before = fingerprint(home, but=("state.db-shm",))
    done = copy_lean(source, target, deadline=20)
    assert fingerprint(home, but=("state.db-shm",)) == before
    assert done.left_out
    assert done.facts.tables["a"] == done.facts.tables["b"] >= 5000 + acknowledged
    assert sides(target) == []


_LOCKS = """
import sqlite3, sys, time
connection = sqlite3.connect(sys.argv[1], isolation_level=None)
for statement in sys.argv[2:]:
    connection.execute(statement)
print("locked", flush=True)
time.sleep(600)
"""


def test_an_exclusive_lock_is_told(home: Path, target: Path) -> None:
    source = make(home / "state.db", CARRYING)
    change(source, "PRAGMA journal_mode=DELETE")
    with running(_LOCKS, source, "BEGIN EXCLUSIVE") as process:
        assert next_line(process) == "locked"
        with pytest.raises(DatabaseBroken, match="locked by another process"):
            copy_lean(source, target, deadline=60)
    assert list(target.parent.iterdir()) == []


@pytest.mark.parametrize("journal", ["DELETE", "TRUNCATE", "PERSIST"])
def test_a_rollback_journal(home: Path, target: Path, journal: str) -> None:
    source = make(home / "state.db", CARRYING)
    change(source, f"PRAGMA journal_mode={journal}; INSERT INTO messages (content) VALUES ('more')")
    before = fingerprint(home)
    done = copy_lean(source, target, deadline=20)
    assert fingerprint(home) == before
    assert done.left_out
    with contextlib.closing(sqlite3.connect(target)) as connection:
        assert connection.execute("PRAGMA journal_mode").fetchone() == ("delete",)


_DIES_MIDWAY = """
import os, signal, sqlite3, sys
connection = sqlite3.connect(sys.argv[1], isolation_level=None)
connection.execute("PRAGMA cache_size=2")
connection.execute("BEGIN")
connection.execute("UPDATE b SET text = 'half done'")
os.kill(os.getpid(), signal.SIGKILL)
"""


def test_a_transaction_that_was_cut_off_is_rolled_back_in_the_copy(home: Path, target: Path) -> None:
    source = change(make(home / "state.db", PAIR, rows=[]), "PRAGMA journal_mode=DELETE")
    with running(_DIES_MIDWAY, source) as process:
        process.wait()
    assert sides(source) == ["-journal"]
    before = fingerprint(home)
    done = copy_lean(source, target, deadline=20)
    assert fingerprint(home) == before
    assert (done.facts.tables["b"], os.listdir(target.parent)) == (5000, ["state.db"])
    assert done.left_out
    with contextlib.closing(sqlite3.connect(target)) as copied:
        assert copied.execute("SELECT count(*) FROM b WHERE text = 'half done'").fetchone() == (0,)


@pytest.mark.parametrize("busy", [False, True])
def test_the_deadline_holds(home: Path, target: Path, busy: bool) -> None:
    source = make(home / "state.db", PAIR, rows=[])
    reader = sqlite3.connect(source)
    if busy:
        reader.execute("SELECT count(*) FROM a").fetchone()
    with pytest.raises(DatabaseBroken, match="deadline"):
        copy_lean(source, target, deadline=0)
    reader.close()
    assert list(target.parent.iterdir()) == []


class _EnoughError(Exception):
    pass


@pytest.mark.parametrize("busy", [False, True])
def test_it_can_be_ended_and_leaves_nothing(home: Path, target: Path, busy: bool) -> None:
    source = make(home / "state.db", PAIR.replace("5000", "50000"), rows=[])
    reader = sqlite3.connect(source)
    if busy:
        reader.execute("SELECT count(*) FROM a").fetchone()
    seen: list[tuple[int, int]] = []

    def end(done: int, total: int) -> None:
        seen.append((done, total))
        if done:
            raise _EnoughError

    with pytest.raises(_EnoughError):
        copy_lean(source, target, deadline=20, progress=end)
    reader.close()
    assert 0 < seen[-1][0] < seen[-1][1]  # midway
    assert list(target.parent.iterdir()) == []


def test_a_target_that_is_there_is_never_written_to(home: Path, target: Path) -> None:
    source = make(home / "state.db", CARRYING)
    target.parent.mkdir()
    target.write_text("mine")
    with pytest.raises(FileExistsError):
        copy_lean(source, target, deadline=20)
    assert target.read_text() == "mine"


def test_damage_in_what_is_kept_is_told(home: Path, target: Path) -> None:
    source = make(home / "state.db", PAIR, rows=[])
    with reading(source, alone=True) as connection:
        (page,) = connection.execute("SELECT max(pageno) FROM dbstat WHERE name = 'b' AND pagetype = 'leaf'").fetchone()
    with source.open("r+b") as file:
        file.seek((page - 1) * 4096)
        file.write(b"\xff" * 4096)
    with pytest.raises(DatabaseBroken, match="damaged"):
        copy_lean(source, target, deadline=20)
    assert list(target.parent.iterdir()) == []


_FULL = """
import subprocess, sys
from pathlib import Path
from hermes_backup.errors import Fault
from tests.home.lean_copies import copy_lean
staged = Path(sys.argv[2])
subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", staged], check=True)
try:
    copy_lean(Path(sys.argv[1]), staged / "state.db", deadline=20)
except Fault as fault:
    print(fault.kind.name, fault.where == sys.argv[2], list(staged.iterdir()))
"""


@pytest.mark.parametrize("busy", [False, True])
def test_a_full_disk(home: Path, target: Path, busy: bool) -> None:
    prefix = where_mounting_works()
    source = make(home / "state.db", PAIR, rows=[])
    target.parent.mkdir()
    reader = sqlite3.connect(source)
    if busy:
        reader.execute("SELECT count(*) FROM a").fetchone()
    with running(_FULL, source, target.parent, prefix=prefix) as process:
        said = next_line(process)
    reader.close()
    assert said == f"{DISK_FULL.name} True []"


def test_another_row_another_hash(home: Path) -> None:
    path = make(home / "x.db", "CREATE TABLE t (a, b); CREATE TABLE other (a, b);")
    seen = set()
    rows = ["(NULL, 1)", "(1, NULL)", "(1, 1.0)", "('1', 1)", "(x'31', 1)", "('1', '')", "('', '1')", "(x'', '1')"]
    rows += [
        "(1, 1), (2, 2)",
        "(2, 2), (1, 1)",
        "('ab', 'c')",
        "('a', 'bc')",
        "('a', 1), ('b', 1)",
        "('ab', 1), ('', 1)",
    ]
    for values in [*rows, "(-9223372036854775808, 9e999)", "(9223372036854775807, -9e999)"]:
        change(
            path, f"DELETE FROM t; DELETE FROM other; INSERT INTO t VALUES {values}; INSERT INTO other SELECT * FROM t"
        )
        with reading(path, alone=True) as connection:
            first, second = (content(connection, read_table(connection, it)) for it in ("t", "other"))
        assert first == second
        seen.add(first.sha256)
    assert len(seen) == len(rows) + 2


def test_how_many_rows_are_read_at_once_changes_no_hash(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = make(home / "x.db", PAIR, rows=[])
    with reading(path, alone=True) as connection:
        table = read_table(connection, "a")
        whole = content(connection, table)
        monkeypatch.setattr("hermes_backup.home.databases.contents._BATCH_BYTES", 300)
        assert content(connection, table) == whole
    assert whole.rows == 5000


def test_it_is_quick_to_give_up_on_a_home_that_is_gone(home: Path, target: Path) -> None:
    started = time.monotonic()
    with pytest.raises(DatabaseBroken, match="not there"):
        copy_lean(home / "gone.db", target, deadline=20)
    assert time.monotonic() - started < 1
    assert os.listdir(home) == []
