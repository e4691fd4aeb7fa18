"""Making the full-text tables again that a lean copy left out."""

from __future__ import annotations

import contextlib
import sqlite3
import time
from typing import TYPE_CHECKING

from hermes_backup.home.databases.authorizer import Authorizer
from hermes_backup.home.databases.copying import Progress, is_wal, no_progress
from hermes_backup.home.databases.facts import DatabaseBroken, address, broken, limited, quoted, require_database
from hermes_backup.home.databases.merging import as_declared, merge, put_off

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path

    from hermes_backup.home.databases.derived import LeftOut

_CACHE_KIB = 64 << 10
_COUNTED = "hb_counted"
_ROWS_BETWEEN_LOOKS = 200
_INDEXING = 85  # of 100 parts of the time; the rest is merging (measured)
_GROWTH = 16  # times the file: all indexes of Hermes take 4, and twice that while they are merged (measured)
_LEAST_GROWTH = 16 << 20  # bytes


def rebuild(path: Path, left_out: Sequence[LeftOut], *, deadline: float, progress: Progress = no_progress) -> None:
    """Make full-text tables again, in a database that nobody else has open: all of them, or the file is as it was.

    ``deadline`` is in seconds from now; ``progress`` is called with rows done and rows in all, and may raise to end it:
    a row is done in part when it is indexed, and wholly when the index is merged.
    The statements are the snapshot's word: none of them writes to another table, nor reaches another file, and the
    file grows in proportion. A program that is killed meanwhile may leave a damaged database, so it belongs in a
    quarantine.

    Raises:
        DatabaseBroken: SQLite cannot make them.
        StatementRefused: one does what no statement of an index does.
    """
    most = require_database(path).st_size * (1 + _GROWTH) + _LEAST_GROWTH
    logged = is_wal(path)
    end = time.monotonic() + deadline
    try:
        with contextlib.closing(_writing(path, most)) as connection:
            try:
                _all(connection, left_out, end, progress)
            finally:
                if logged:
                    connection.execute("PRAGMA journal_mode=WAL")
    except (sqlite3.ProgrammingError, sqlite3.Warning) as error:  # more than one statement in a text
        raise DatabaseBroken(f"SQLite says: {error}") from error
    except sqlite3.Error as error:
        if "disk is full" in str(error):
            raise DatabaseBroken(f"its file would have more than {most} bytes, or the disk is full") from error
        raise broken(error) from error


def _writing(path: Path, most: int) -> sqlite3.Connection:
    """Open a database to write to it, until the file has so many bytes."""
    connection = sqlite3.connect(address(path, "rw"), uri=True, isolation_level=None)
    for setting in (
        "locking_mode=EXCLUSIVE",
        "journal_mode=MEMORY",
        "synchronous=OFF",
        f"cache_size=-{_CACHE_KIB}",
        "trusted_schema=OFF",
        "foreign_keys=OFF",
    ):
        connection.execute(f"PRAGMA {setting}")
    (page_size,) = connection.execute("PRAGMA page_size").fetchone()
    connection.execute(f"PRAGMA max_page_count={most // page_size}")
    return connection


def _all(connection: sqlite3.Connection, left_out: Sequence[LeftOut], end: float, progress: Progress) -> None:
    """Run all statements in one transaction; triggers come last, for they would fill what is filled already."""
    rows = _Rows(connection, sum(it.rows for it in left_out), end, progress)
    connection.create_function(_COUNTED, 0, rows.counting().__next__)
    authorizer = Authorizer(connection, own_function=_COUNTED)
    connection.execute("BEGIN")
    try:
        with limited(connection, end):
            for one in left_out:
                _make(connection, one, authorizer, rows)
            for table, statement in ((one.table, it) for one in left_out for it in one.triggers):
                with authorizer.minding(table, statement):
                    connection.execute(statement)
        rows.tell()
        connection.execute("COMMIT")
    except BaseException:
        if connection.in_transaction:
            connection.execute("ROLLBACK")
        for dropped in rows.dropped:
            raise dropped from None
        raise


def _make(connection: sqlite3.Connection, one: LeftOut, authorizer: Authorizer, rows: _Rows) -> None:
    """Make an index, fill it, and merge it."""
    with authorizer.creating(one.table) as own:
        connection.execute(one.create)
    with authorizer.filling(one.table, own):
        for statement in one.settings:
            connection.execute(statement)
        put_off(connection, one.table)
        connection.execute(f"{one.insert} WHERE {_COUNTED}() AND ({one.condition or 1})")
        with rows.merging(one.rows) as told:
            merge(connection, one.table, told)
        as_declared(connection, one.table, one.settings)


class _Rows:
    """How many rows were read to be indexed, and whether there is time for more.

    SQLite's own steps do not tell: most of the work is FTS5's, within a step.
    """

    def __init__(self, connection: sqlite3.Connection, total: int, end: float, progress: Progress) -> None:
        self.dropped: list[BaseException] = []
        self._connection = connection
        self._read = 0
        self._merged = 0
        self._total = total
        self._end = end
        self._progress = progress

    def counting(self) -> Iterator[bool]:
        """Count one more at each step; what is raised meanwhile is kept, and ends the statement.

        A generator, since a signal is noticed where Python code is entered: here that is within the block.
        """
        while True:
            try:
                self._read += 1
                if not self._read % _ROWS_BETWEEN_LOOKS:
                    self._look()
                yield True
            except (KeyboardInterrupt, Exception) as error:
                self.dropped.append(error)
                self._connection.interrupt()

    @contextlib.contextmanager
    def merging(self, rows: int) -> Iterator[Callable[[int, int], None]]:
        """Give what is to be told how much of the index of so many rows is merged."""
        before = self._merged

        def told(done: int, total: int) -> None:
            self._merged = before + rows * done // max(1, total)
            self._look()

        yield told
        self._merged = before + rows

    def tell(self) -> None:
        """Tell how far it is; rows that are read and passed over count too, up to all."""
        read = min(self._read, self._total)
        self._progress((read * _INDEXING + self._merged * (100 - _INDEXING)) // 100, self._total)

    def _look(self) -> None:
        if time.monotonic() > self._end:
            raise DatabaseBroken("it was not done by its deadline")
        self.tell()


def check_index(connection: sqlite3.Connection, table: str) -> None:
    """Let FTS5 compare an index with itself and with the content of its own, if any; needs a connection that writes.

    Raises:
        sqlite3.Error: it does not agree.
    """
    name = quoted(table)
    connection.execute(f"INSERT INTO {name} ({name}) VALUES ('integrity-check')")  # noqa: S608 - quoted
