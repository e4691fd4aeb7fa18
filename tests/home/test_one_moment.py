"""Two connections that begin together see one moment, however fast somebody writes."""

from __future__ import annotations

import contextlib
import sqlite3
from collections.abc import Iterator
from pathlib import Path

import pytest

from hermes_backup.home.databases.access import Access, access
from hermes_backup.home.databases.one_moment import begin_together
from tests.home.making import make_database, writer

_ASKED = "SELECT count(*), max(id) FROM a"


@pytest.fixture
def both(tmp_path: Path) -> Iterator[tuple[Access, Access]]:
    path = make_database(tmp_path / "some.db", 10)
    with access(path) as first, access(path) as second:
        yield first, second


@pytest.fixture
def pair(both: tuple[Access, Access]) -> tuple[sqlite3.Connection, sqlite3.Connection]:
    return both[0].connection, both[1].connection


def asked(*connections: sqlite3.Connection) -> set[tuple[int, int]]:
    return {it.execute(_ASKED).fetchone() for it in connections}


def test_of_a_database_that_rests(
    both: tuple[Access, Access], pair: tuple[sqlite3.Connection, sqlite3.Connection]
) -> None:
    assert begin_together(*both)
    assert asked(*pair) == {(10, 10)}
    assert all(it.in_transaction for it in pair)


@pytest.mark.parametrize("pause", [0.0, 0.001], ids=["flat out", "a thousand a second"])
def test_beside_a_writer(
    tmp_path: Path, both: tuple[Access, Access], pair: tuple[sqlite3.Connection, sqlite3.Connection], pause: float
) -> None:
    together = 0
    with writer(tmp_path / "some.db", pause=pause) as process:
        assert process.stdout is not None
        for _ in range(500):
            if begin_together(*both):
                together += 1
                assert len(asked(*pair)) == 1
                pair[1].execute("ROLLBACK")
            assert [it.in_transaction for it in pair] == [True, False]
            pair[0].execute("ROLLBACK")
    assert together > 0


def test_not_where_something_is_written_each_time_between(
    tmp_path: Path, both: tuple[Access, Access], pair: tuple[sqlite3.Connection, sqlite3.Connection]
) -> None:
    first, second = pair
    with contextlib.closing(sqlite3.connect(tmp_path / "some.db", isolation_level=None)) as between:

        def write(statement: str) -> None:
            if statement == "BEGIN":
                between.execute("INSERT INTO a (text) VALUES ('between')")

        second.set_trace_callback(write)
        assert not begin_together(*both)
        second.set_trace_callback(None)
        assert asked(first) == {(15, 15)}
        assert [it.in_transaction for it in pair] == [True, False]
