"""Which full-text tables are proven to be made of others, and which are kept, each for its own reason."""

from __future__ import annotations

from pathlib import Path

import pytest

from hermes_backup.home.databases.derived import LeftOut
from tests.home.full_text import CARRYING, CUTTING, JOINING, MESSAGES, OVER_A_VIEW, ROWS, change, judged, make, why


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "state.db"


def trigger(values: str, *, when: str = "", columns: str = "rowid, content", on: str = "AFTER INSERT") -> str:
    return f"CREATE TRIGGER fts_insert {on} ON messages {when} BEGIN INSERT INTO fts({columns}) VALUES ({values}); END;"


def carrying(*triggers: str, columns: str = "content") -> str:
    return f"CREATE VIRTUAL TABLE fts USING fts5({columns});" + "".join(triggers)


@pytest.mark.parametrize(
    ("script", "rows"),
    [
        (CARRYING, 4),
        (CUTTING, 4),
        (OVER_A_VIEW, 3),
        (JOINING, 8),
        (carrying(trigger("new.id, new.content", when="WHEN new.role = 'user'")), 2),
        (carrying(trigger("new.rowid, new.content, new.id", columns="ROWID, b, [a]"), columns="a UNINDEXED, b"), 4),
        (carrying(trigger('NEW.ID, /* ; */ New."content" -- \'\n', columns="rowid, content")), 4),
        (carrying(trigger("new.id, (SELECT count(*) FROM messages AS m WHERE m.id <= new.id)")), 4),
        (
            "CREATE VIRTUAL TABLE fts USING fts5(content, detail=none, columnsize=0);" + trigger("new.id, new.content"),
            4,
        ),
    ],
)
def test_what_triggers_make_of_other_tables_can_be_left_out(path: Path, script: str, rows: int) -> None:
    found = judged(make(path, script))
    assert isinstance(found, LeftOut), found
    assert found.rows == rows


def test_an_index_over_tables_that_are_joined_is_left_out_with_all_its_triggers(path: Path) -> None:
    found = judged(make(path, JOINING), "fts_trigram")
    assert isinstance(found, LeftOut), found
    assert found.rows == 4
    assert found.trigger_names == ("fts_trigram_insert", "fts_trigram_delete", "fts_trigram_update")
    assert set(found.shadows) == {f"fts_trigram_{it}" for it in ("data", "idx", "docsize", "config")}
    assert all(it in found.condition for it in ("FROM sessions", "json_extract", "high_water", "progress"))


@pytest.mark.parametrize(
    "changed",
    ["source = 'cron' WHERE id = 'odd'", """config = '{"_delegate_from": "talk"}' WHERE id = 'odd'"""],
)
def test_what_a_session_is_said_to_be_for_only_later_keeps_its_index(path: Path, changed: str) -> None:
    """No trigger of the index minds the sessions: it goes on to hold what it would not be given any more."""
    change(make(path, JOINING), f"UPDATE sessions SET {changed}")
    assert why(path, "fts_trigram") == "it holds 4 rows, its triggers would insert 3, and 3 are the same"
    assert isinstance(judged(path), LeftOut)


def test_what_is_left_out_with_it(path: Path) -> None:
    found = judged(make(path, CARRYING))
    assert isinstance(found, LeftOut)
    assert set(found.shadows) == {"fts_data", "fts_idx", "fts_content", "fts_docsize", "fts_config"}
    assert found.trigger_names == ("fts_insert", "fts_delete", "fts_update")
    assert found.statements[0] == "CREATE VIRTUAL TABLE fts USING fts5(content)"
    assert found.statements[1].startswith('INSERT INTO "fts" (rowid, "content") SELECT "hb_row"."id", COALESCE')
    assert len(found.statements) == 5


def test_a_table_without_triggers_is_filled_by_the_rows_that_it_names(path: Path) -> None:
    make(path, "CREATE VIRTUAL TABLE fts USING fts5(tool, content, content=messages, content_rowid=id);")
    assert why(path) == "it holds 0 rows, its triggers would insert 4, and 0 are the same"
    change(path, "INSERT INTO fts(fts) VALUES('rebuild')")
    assert isinstance(judged(path), LeftOut)


def test_how_it_is_set_up_is_known(path: Path) -> None:
    make(path, CARRYING)
    change(path, "INSERT INTO fts(fts, rank) VALUES('rank', 'bm25(10.0)'), ('automerge', 2)")
    found = judged(path)
    assert isinstance(found, LeftOut)
    assert found.settings == (
        """INSERT INTO "fts" ("fts", rank) VALUES ('automerge', 2)""",
        """INSERT INTO "fts" ("fts", rank) VALUES ('rank', 'bm25(10.0)')""",
    )
    change(path, "INSERT INTO fts_config VALUES('mood', 1)")
    assert why(path) == "its setting mood is not understood"


@pytest.mark.parametrize(
    "spoilt",
    [
        "INSERT INTO fts(rowid, content) VALUES (77, 'of its own')",
        "DELETE FROM fts WHERE rowid = 2",
        "UPDATE fts SET content = 'other' WHERE rowid = 2",
        "UPDATE fts SET content = upper(content) WHERE rowid = 1",
        "DELETE FROM fts WHERE rowid = 2; INSERT INTO fts(rowid, content) SELECT 77, content FROM fts WHERE rowid = 1",
        "UPDATE fts SET content = NULL WHERE rowid = 1",
        "UPDATE fts SET content = CAST(content AS BLOB) WHERE rowid = 1",
    ],
)
def test_a_table_that_holds_something_else_is_kept(path: Path, spoilt: str) -> None:
    change(make(path, CARRYING), spoilt)
    assert why(path).startswith("it holds ")


@pytest.mark.parametrize("held", ["1.0", "'1'", "x'31'"])
def test_a_value_of_another_type_is_another_value(path: Path, held: str) -> None:
    make(path, carrying(trigger("new.id, new.role")), "CREATE TABLE other(x);", rows=[])
    change(path, f"INSERT INTO messages(id, role) VALUES (1, x'00'); UPDATE messages SET role = '1'; DELETE FROM fts;"
                 f"INSERT INTO fts(rowid, content) VALUES (1, {held})")  # fmt: skip
    assert isinstance(judged(path), LeftOut) is (held == "'1'")


def test_whole_numbers_and_reals_differ(path: Path) -> None:
    make(path, "CREATE TABLE numbers (id INTEGER PRIMARY KEY, n);", carrying(), rows=[])
    change(path, trigger("new.id, new.n").replace("ON messages", "ON numbers"))
    change(path, "INSERT INTO numbers VALUES (1, 1)")
    assert isinstance(judged(path), LeftOut)
    change(path, "UPDATE numbers SET n = 1.0")
    assert why(path).startswith("it holds 1 rows")


@pytest.mark.parametrize(("script", "rows"), [(CUTTING, 4), (JOINING, 8)], ids=["cutting", "joining"])
def test_an_index_over_other_rows_than_its_triggers_give_is_kept(path: Path, script: str, rows: int) -> None:
    make(path, script)
    change(path, "INSERT INTO state_meta VALUES ('high_water', 9), ('progress', 2)")
    assert why(path) == f"it holds {rows} rows, its triggers would insert 2, and 2 are the same"
    change(path, "INSERT INTO fts(fts) VALUES('delete-all')")
    change(path, "INSERT INTO fts(rowid, content, tool) SELECT id, content, tool FROM messages WHERE id < 3")
    assert isinstance(judged(path), LeftOut)  # half way through hermes-agent's own rebuilding, and so it stays


DARK = "the trigger that fills it is not understood"
KEPT = {
    "contentless": ("CREATE VIRTUAL TABLE fts USING fts5(a, content='');", "it has no content that could be indexed"),
    "its own": (carrying(), "no trigger fills it"),
    "two": (carrying(trigger("new.id, 'y'"), trigger("-new.id, 'x'").replace("fts_insert", "other")), "more than one"),
    "before": (carrying(trigger("new.id, new.content", on="BEFORE INSERT")), DARK),
    "time": (carrying(trigger("new.id, date('now')")), DARK),
    "clock": (carrying(trigger("new.id, current_date")), DARK),
    "random": (carrying(trigger("new.id, random()")), DARK),
    "a text in double quotes": (carrying(trigger('new.id, "role"')), DARK),
    "no row id": (carrying(trigger("new.content", columns="content")), DARK),
    "computed row id": (carrying(trigger("new.id + 1, ''")), DARK),
    "another row id": (carrying(trigger("new.role, ''")), "its row ids are not those of messages"),
    "or ignore": (carrying(trigger("new.id, ''").replace("INSERT INTO", "INSERT OR IGNORE INTO")), "is not understood"),
    "select": (carrying(trigger("7, ''").replace("VALUES (7, '')", "SELECT new.id, ''")), "is not understood"),
    "two statements": (
        carrying(trigger("new.id, ''").replace("END", "DELETE FROM fts WHERE rowid = 3; END")),
        DARK,
    ),
    "does more": (
        carrying(trigger("new.id, new.content").replace("END", "UPDATE messages SET tool = '' WHERE id = new.id; END")),
        "does more than to write to it",
    ),
    "orders": (carrying(trigger("new.id, 'x', 7", columns="rowid, fts, rank")), "gives it orders, not rows"),
    "read by a trigger": (
        carrying(trigger("new.id, new.content"))
        + "CREATE TRIGGER more AFTER INSERT ON messages WHEN EXISTS (SELECT 1 FROM fts) BEGIN SELECT 1; END;",
        "does more than to write to it",
    ),
    "of a virtual table": (
        "CREATE VIRTUAL TABLE places USING rtree(id, a, b);"
        + carrying(trigger("new.id, (SELECT count(*) FROM places)")),
        "what fills it reads more than real tables",
    ),
    "of a view of a virtual table": (
        "CREATE VIRTUAL TABLE places USING rtree(id, a, b); CREATE VIEW all_places AS SELECT * FROM places;"
        + carrying(trigger("new.id, (SELECT count(*) FROM all_places)")),
        "what fills it reads more than real tables",
    ),
    "over a virtual table": (
        "CREATE VIRTUAL TABLE base USING fts5(a); CREATE VIRTUAL TABLE fts USING fts5(a, content=base);",
        "its content is no table and no view",
    ),
    "over nothing": ("CREATE VIRTUAL TABLE fts USING fts5(a, content=nowhere);", "its content is no table and no view"),
    "over a view of views": (
        "CREATE VIEW one AS SELECT * FROM messages; CREATE VIEW two AS SELECT * FROM one;"
        "CREATE VIRTUAL TABLE fts USING fts5(content, content=two, content_rowid=id);",
        "the view two reads more than real tables",
    ),
    "over a view whose rows share an id": (
        "CREATE VIEW twice AS SELECT * FROM messages UNION ALL SELECT * FROM messages;"
        "CREATE VIRTUAL TABLE fts USING fts5(content, content=twice, content_rowid=id);",
        "the view twice has rows that share an id",
    ),
    "over a view that is broken": (
        "CREATE VIEW gone AS SELECT * FROM nowhere;"
        "CREATE VIRTUAL TABLE fts USING fts5(content, content=gone, content_rowid=id);",
        "SQLite says: no such table",
    ),
    "sizes are unknown": (
        "CREATE VIRTUAL TABLE fts USING fts5(content, content=messages, content_rowid=id, columnsize=0);",
        "nothing tells which rows it holds",
    ),
    "short option": ("CREATE VIRTUAL TABLE fts USING fts5(a, toke='ascii');", "its option toke is not understood"),
}  # fmt: skip


EMPTY = ("orders", "of a virtual table", "over a virtual table", "another row id", "of a view of a virtual table")


@pytest.mark.parametrize("case", KEPT)
def test_what_is_not_proven_is_kept(path: Path, case: str) -> None:
    script, reason = KEPT[case]
    assert reason in why(make(path, script, rows=[] if case in EMPTY else ROWS))


def test_a_tokenizer_that_is_not_here(path: Path) -> None:
    change(make(path, CARRYING), """PRAGMA writable_schema=ON; UPDATE sqlite_master SET
        sql = 'CREATE VIRTUAL TABLE fts USING fts5(content, tokenize=''cjk 2'')' WHERE name = 'fts'""")  # fmt: skip
    assert why(path).startswith("it cannot be made here: SQLite says: ")


def test_a_column_may_bear_the_name_of_row_ids(path: Path) -> None:
    odd = "CREATE TABLE odd (rowid TEXT, content TEXT);" + carrying(trigger("new.rowid, new.content"))
    make(path, odd.replace("ON messages", "ON odd"), rows=[])
    assert why(path) == "its row ids are not those of odd"
    change(path, "DROP TRIGGER fts_insert;" + trigger("new._rowid_, new.content").replace("ON messages", "ON odd"))
    change(path, "INSERT INTO odd VALUES ('seven', 'of nine')")
    assert isinstance(judged(path), LeftOut)


@pytest.mark.parametrize("made", ["id TEXT PRIMARY KEY, content", "id INTEGER PRIMARY KEY, content"])
def test_a_table_without_row_ids(path: Path, made: str) -> None:
    script = f"CREATE TABLE bare ({made}) WITHOUT ROWID;" + carrying(trigger("new.id, new.content"))
    make(path, script.replace("ON messages", "ON bare"), rows=[])
    assert why(path) == "its row ids are not those of bare"


def test_names_are_compared_as_sqlite_does_it(path: Path) -> None:
    upper = CARRYING.replace("INTO fts", 'INTO "FTS"').replace("FROM fts", "FROM [Fts]").replace("messages", "MESSAGES")
    assert isinstance(judged(make(path, upper)), LeftOut)
    assert MESSAGES.startswith("CREATE TABLE messages")
