"""Searches that are remembered: an index that answers otherwise is noticed."""

from __future__ import annotations

import contextlib
import sqlite3
from pathlib import Path

import pytest

from hermes_backup.home.databases.facts import reading
from hermes_backup.home.databases.rebuilding import rebuild
from hermes_backup.home.databases.searching import answered_otherwise
from tests.home.full_text import CARRYING, SCRIPTS, change, make
from tests.home.lean_copies import copy_lean


@pytest.fixture
def source(tmp_path: Path) -> Path:
    return tmp_path / "state.db"


@pytest.fixture
def target(tmp_path: Path) -> Path:
    return tmp_path / "copy.db"


def asked(path: Path, searches: object) -> list[str]:
    with reading(path) as connection:
        return [it.term for it in answered_otherwise(connection, searches)]  # type: ignore[arg-type]


LIGHTHOUSES = {
    "carrying": {"fts": 2},
    "cutting": {"fts": 1},
    "over a view": {"fts": 1},
    "joining": {"fts": 4, "fts_trigram": 2},
}


@pytest.mark.parametrize("name", SCRIPTS)
def test_what_is_made_again_answers_the_same(source: Path, target: Path, name: str) -> None:
    done = copy_lean(make(source, SCRIPTS[name]), target, deadline=20)
    assert {it.table: it.hits for it in done.searches if it.term == "lighthouse"} == LIGHTHOUSES[name]
    assert {it.table: it.hits for it in done.searches if it.term == "nüchtern"} == dict.fromkeys(LIGHTHOUSES[name], 1)
    rebuild(target, done.left_out, deadline=20)
    assert asked(target, done.searches) == []


@pytest.mark.parametrize(
    "spoilt",
    [
        "DELETE FROM fts WHERE rowid = 1",
        "UPDATE fts SET rowid = 77 WHERE rowid = 1",
        "INSERT INTO fts(rowid, content) VALUES (77, 'another lighthouse')",
        "DROP TABLE fts",
        "DROP TABLE fts; CREATE TABLE fts (content)",
        "UPDATE fts_data SET block = x'00' WHERE id > 10",
    ],
)
def test_an_index_that_answers_otherwise_is_noticed(source: Path, target: Path, spoilt: str) -> None:
    done = copy_lean(make(source, CARRYING), target, deadline=20)
    assert asked(source, done.searches) == []
    assert "lighthouse" in asked(change(source, spoilt), done.searches)


def test_an_index_that_was_not_made_again_answers_nothing(source: Path, target: Path) -> None:
    done = copy_lean(make(source, CARRYING), target, deadline=20)
    assert asked(target, done.searches) == [it.term for it in done.searches] != []


def test_an_index_that_takes_no_phrases(source: Path, target: Path) -> None:
    by_letters = CARRYING.replace("fts5(content)", "fts5(content, tokenize='trigram', detail=none)")
    done = copy_lean(make(source, by_letters), target, deadline=20)
    assert [it.table for it in done.left_out] == ["fts"]
    assert all(len(it.term) == 3 for it in done.searches)


@pytest.mark.parametrize("rows", [[], [(3, "user", "- ! -", None)]])
def test_where_there_is_no_word(source: Path, target: Path, rows: list[tuple[object, ...]]) -> None:
    done = copy_lean(make(source, CARRYING, rows=rows), target, deadline=20)
    assert done.searches == ()
    assert done.left_out


def test_a_text_that_is_none(source: Path, target: Path) -> None:
    rows = [(1, "user", b"lighthouse \x80", None), (2, "user", "harbour", b"\xff")]
    done = copy_lean(make(source, CARRYING, rows=rows), target, deadline=20)
    assert [it.term for it in done.searches] == ["lighthouse", "harbour"]
    rebuild(target, done.left_out, deadline=20)
    assert asked(target, done.searches) == []


def test_rows_that_lie_far_apart(source: Path, target: Path) -> None:
    rows = [(-(2**63), "user", "firstword", None), (0, "user", "middle", None), (2**63 - 1, "user", "lastword", None)]
    done = copy_lean(make(source, CARRYING, rows=rows), target, deadline=20)
    assert {it.term: it.hits for it in done.searches} == {"firstword": 1, "middle": 1, "lastword": 1}
    with contextlib.closing(sqlite3.connect(source)) as connection:
        assert answered_otherwise(connection, done.searches) == ()
