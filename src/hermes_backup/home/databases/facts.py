"""What is known of one database file: its pages, its tables' row counts, and whether it is whole."""

from __future__ import annotations

import contextlib
import os
import re
import sqlite3
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from urllib.parse import quote_from_bytes

from hermes_backup.home.printable import printable

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping
    from pathlib import Path

HEADER = b"SQLite format 3\0"
_BUSY_SECONDS = 3.0
_STEPS_BETWEEN_LOOKS = 100_000  # of SQLite's virtual machine: about a millisecond
FOREIGN = re.compile(
    r"no such (?:module|tokenizer|collation sequence|function)"
    r"|unknown (?:tokenizer|function)|^SQL logic error$"  # the latter from 3.44 on, for a missing tokenizer
)
"""What a stock SQLite says of parts that need the extension of the program that made them: no damage."""


class DatabaseBroken(Exception):  # noqa: N818 - it tells a state, as Fault does
    """One database cannot be copied or read; ``reason`` says why in a sentence without a full stop."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


@dataclass(frozen=True)
class DatabaseFacts:
    """One whole database: page size in bytes, number of pages, and the rows of every real table.

    Virtual tables have no rows of their own; the shadow tables that hold theirs are counted. ``unchecked``
    names tables that this SQLite cannot look into, for want of the extension that made them.
    """

    name: str
    page_size: int
    pages: int
    tables: Mapping[str, int]
    unchecked: tuple[str, ...] = ()


@dataclass(frozen=True)
class Shape:
    """What a source and its copy must have in common, besides being whole: an empty database is whole too."""

    page_size: int
    pages: int
    schema: tuple[tuple[str, str, int, str | None], ...]


def beside(path: Path, side: str) -> Path:
    """Return the path of a sidecar, such as ``-wal``."""
    return path.with_name(path.name + side)


def address(path: Path, mode: str) -> str:
    """Return the URI of a file, whatever bytes its name is made of."""
    return f"file://{quote_from_bytes(os.fsencode(path.absolute()))}?mode={mode}"


@contextlib.contextmanager
def reading(path: Path, *, alone: bool = False) -> Iterator[sqlite3.Connection]:
    """Open a database to read it and never to write to it; ``alone`` promises that no one else has it open.

    A file that is alone is read without locks and without sidecars appearing beside it. Another thread may read.
    """
    uri = address(path, "ro") + ("&immutable=1" if alone else "")
    connection = sqlite3.connect(uri, uri=True, timeout=_BUSY_SECONDS, isolation_level=None, check_same_thread=False)
    try:
        yield connection
    finally:
        connection.close()


def shape(connection: sqlite3.Connection) -> Shape:
    """Read what a copy must agree with; this is the real read that fixes a transaction's view."""
    rows = connection.execute("SELECT type, name, rootpage, sql FROM sqlite_master ORDER BY rowid").fetchall()
    (page_size,) = connection.execute("PRAGMA page_size").fetchone()
    (pages,) = connection.execute("PRAGMA page_count").fetchone()
    return Shape(page_size, pages, tuple(rows))


def facts(
    path: Path, *, name: str = "", deadline: float = float("inf"), look: Callable[[], None] | None = None
) -> DatabaseFacts:
    """Check a database file that nobody has open, such as a copy, and count its rows, within a deadline.

    ``deadline`` is in seconds from now; ``look`` as in :func:`limited`.

    Raises:
        DatabaseBroken: it is missing, empty, damaged, or was left with a WAL that this could not see.
    """
    require_database(path)
    for side in ("-wal", "-journal"):
        with contextlib.suppress(FileNotFoundError):
            if beside(path, side).stat().st_size:
                raise DatabaseBroken(f"its {side} lies beside it and is not empty")
    try:
        with reading(path, alone=True) as connection, limited(connection, time.monotonic() + deadline, look):
            return read_facts(connection, name or printable(path.name))
    except sqlite3.Error as error:
        raise broken(error) from error


def read_facts(connection: sqlite3.Connection, name: str) -> DatabaseFacts:
    """Check and count over a connection; sqlite3.Error or DatabaseBroken when it is damaged."""
    seen = shape(connection)
    tables = tables_of(seen)
    unchecked = _check(connection, tables)
    counts = count_rows(connection, tables)
    unchecked += tuple(table for table in tables if table not in counts and table not in unchecked)
    return DatabaseFacts(name, seen.page_size, seen.pages, counts, unchecked)


def count_rows(connection: sqlite3.Connection, tables: Iterable[str]) -> Mapping[str, int]:
    """Count the rows of tables; one that needs an extension that is not here is left out."""
    return {table: count for table in tables if (count := _count(connection, table)) is not None}


def tables_of(seen: Shape) -> tuple[str, ...]:
    """Return the names of the real tables of a schema."""
    return tuple(table for kind, table, root, _ in seen.schema if kind == "table" and root)


def require_database(path: Path) -> os.stat_result:
    """Return the status of a file that starts as a database does: SQLite takes a missing one for empty.

    Raises:
        DatabaseBroken: it is missing, no regular file, empty, or starts otherwise.
    """
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except FileNotFoundError as error:
        raise DatabaseBroken("it is not there") from error
    except OSError as error:
        raise DatabaseBroken(f"it cannot be opened: {error.strerror}") from error
    try:
        status = os.fstat(descriptor)
        if status.st_size == 0:
            raise DatabaseBroken("it is an empty file")
        if os.pread(descriptor, len(HEADER), 0) != HEADER:
            raise DatabaseBroken("its header is not that of a SQLite database")
    except OSError as error:
        raise DatabaseBroken(f"it cannot be read: {error.strerror}") from error
    finally:
        os.close(descriptor)
    return status


@contextlib.contextmanager
def limited(connection: sqlite3.Connection, end: float, look: Callable[[], None] | None = None) -> Iterator[None]:
    """Interrupt what runs on the connection when the monotonic clock passes ``end``, or when a signal ends the run.

    ``look`` is called now and then meanwhile; what it raises ends the statement, and is raised in its stead.
    """
    dropped: list[BaseException] = []
    looks = _looks(end, look, dropped)
    next(looks)
    connection.set_progress_handler(looks.__next__, _STEPS_BETWEEN_LOOKS)
    try:
        yield
    finally:
        connection.set_progress_handler(None, 0)
        if dropped:
            raise dropped[0] from None


def _looks(end: float, look: Callable[[], None] | None, dropped: list[BaseException]) -> Iterator[bool]:
    """Say at each look whether to stop; what is raised here is kept, for sqlite3 drops what its handler raises.

    A generator, since a signal is noticed where Python code is entered: here that is within the block, and would be
    before the first line of a function.
    """
    while True:
        try:
            yield bool(dropped) or time.monotonic() > end
            if look is not None and not dropped:
                look()
        except (KeyboardInterrupt, Exception) as error:  # all of them are raised again
            dropped.append(error)


def broken(error: sqlite3.Error) -> DatabaseBroken:
    """Say in our words what SQLite says in its."""
    text = str(error)
    if "locked" in text:
        return DatabaseBroken("it is locked by another process")
    if "interrupted" in text:
        return DatabaseBroken("it was not done by its deadline")
    if not isinstance(error, sqlite3.OperationalError):  # malformed, or not a database at all
        return DatabaseBroken(f"it is damaged: {text}")
    return DatabaseBroken(f"SQLite says: {text}")


def _check(connection: sqlite3.Connection, tables: tuple[str, ...]) -> tuple[str, ...]:
    """Check every page; return the tables that could not be checked. Raises DatabaseBroken on damage."""
    if _is_checked(connection, "PRAGMA quick_check(20)"):
        return ()
    # One table in the way stops the whole check (SQLite 3.44 asks virtual tables too): ask one by one.
    return tuple(table for table in tables if not _is_checked(connection, f"PRAGMA quick_check({quoted(table)})"))


def _is_checked(connection: sqlite3.Connection, query: str) -> bool:
    rows = _ask(connection, query)
    damage = [text for (text,) in rows or () if text != "ok" and not FOREIGN.search(text)]
    if damage:
        raise DatabaseBroken(f"it is damaged: {damage[0]}")
    return rows is not None


def _count(connection: sqlite3.Connection, table: str) -> int | None:
    """Count rows; None where even that needs an extension."""
    query = f"SELECT count(*) FROM {quoted(table)}"  # noqa: S608 - a name that SQLite itself gave
    # An index may need a collation that is not here; the table under it does not.
    rows = _ask(connection, query) or _ask(connection, f"{query} NOT INDEXED")
    return int(rows[0][0]) if rows else None


def _ask(connection: sqlite3.Connection, query: str) -> list[tuple[Any, ...]] | None:
    """Return the answer, None when it takes an extension that this SQLite has not."""
    try:
        return connection.execute(query).fetchall()
    except sqlite3.OperationalError as error:
        if FOREIGN.search(str(error)):
            return None
        raise


def quoted(name: str) -> str:
    """Write the name of a table or column as SQLite reads it, whatever is in it."""
    return '"' + name.replace('"', '""') + '"'
