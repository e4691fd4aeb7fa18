"""What is taken out of a database for a lean copy, in one read transaction: all but what can be made again.

The home's file is the connection's main database, opened to be read, so that its views and triggers mean what they
mean at home; the copy is attached, and filled table by table. A second connection that sees the same moment hashes
the tables meanwhile, in a thread of its own: both take most of a second for each GB, and need a core each.
"""

from __future__ import annotations

import contextlib
import os
import sqlite3
import tempfile
import time
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

from hermes_backup.home.databases.access import Access, access
from hermes_backup.home.databases.contents import Content, read_contents
from hermes_backup.home.databases.copying import Progress, cannot_prepare, discard, has_readers, is_wal
from hermes_backup.home.databases.derived import Kept, LeftOut, derived
from hermes_backup.home.databases.facts import beside, limited
from hermes_backup.home.databases.filling import NotLean, attach, fill, finish
from hermes_backup.home.databases.fulltext import full_text_tables
from hermes_backup.home.databases.one_moment import begin_together
from hermes_backup.home.databases.schema import Entry, read_schema
from hermes_backup.home.databases.searching import Search, sample
from hermes_backup.home.databases.still import Moved, copy_still, unmoved

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

T = TypeVar("T")

_POLL = 0.01  # seconds
_PART_OF_MEMORY = 4
_SWEEP_BYTES = 256 << 10  # what a core's cache holds: with 16 MiB it took a third longer (measured)


@dataclass(frozen=True)
class Taken:
    """What was taken out of the original, in its transaction.

    ``damaged`` are those of the tables left out in which nothing can be searched.
    """

    schema: tuple[Entry, ...]
    contents: Mapping[str, Content]
    left_out: tuple[LeftOut, ...]
    kept: tuple[Kept, ...]
    searches: tuple[Search, ...]
    damaged: tuple[str, ...]


def take_out(source: Path, target: Path, end: float, progress: Progress) -> Taken:
    """Fill a copy by the way that the database's holders allow, as ``take`` does; whoever calls cleans up.

    Raises:
        NotLean: nothing can be left out, or it cannot be read.
        sqlite3.Error: it cannot be copied, or not so.
    """
    _fetch(source, progress)
    logged = is_wal(source)  # asked now: closing a file that SQLite has open would drop its locks
    if not has_readers(source) and not _has_log(source):
        with contextlib.suppress(Moved), unmoved(source):
            return _filled(source, target, end, progress, alone=True, logged=logged)
        discard(target)
    if has_readers(source):
        try:
            return _filled(source, target, end, progress, alone=False, logged=logged)
        except sqlite3.OperationalError as error:
            if not cannot_prepare(error):
                raise
        discard(target)
    with tempfile.TemporaryDirectory(prefix=".hb-whole-", dir=target.parent) as folder:
        whole = Path(folder) / "whole"
        try:
            copy_still(source, whole, progress)
        except Moved as error:
            raise NotLean("it is in use, and SQLite may not write beside it") from error
        return _filled(whole, target, end, progress, alone=True, logged=logged, private=True)


def _fetch(source: Path, progress: Progress) -> None:
    """Read the file once from one end to the other, where the memory holds it: a hint to the kernel is not enough.

    Its tables lie in pieces between those of the index. Read piece by piece from a disk, a copy takes twice the time.
    """
    total = source.lstat().st_size
    if total > held_by_memory():
        return
    buffer = bytearray(_SWEEP_BYTES)
    with open(source, "rb", buffering=0, opener=_unlinked) as file:
        while file.readinto(buffer):
            progress(0, total)


def _unlinked(path: str, flags: int) -> int:
    return os.open(path, flags | os.O_NOFOLLOW | os.O_NONBLOCK)


def held_by_memory() -> int:
    """Return how many bytes of a file the kernel is likely to keep in memory once they were read: a quarter of that."""
    return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") // _PART_OF_MEMORY


def _has_log(source: Path) -> bool:
    with contextlib.suppress(FileNotFoundError):
        return bool(beside(source, "-wal").lstat().st_size)
    return False


def _filled(
    source: Path, target: Path, end: float, progress: Progress, *, alone: bool, logged: bool, private: bool = False
) -> Taken:
    """Fill the copy in one read transaction of the original."""
    total = source.lstat().st_size
    look = _look(target, total, progress)
    with access(source, alone=alone, private=private) as opened, limited(opened.connection, end, look):
        connection = opened.connection
        attach(connection, target)
        with _aside(opened, end, alone=alone, private=private) as aside:
            schema = read_schema(connection)
            indexes = full_text_tables(schema)
            if not indexes:
                raise NotLean("")
            shadows = {name for it in indexes for name in it.shadows}
            hashed = aside(partial(read_contents, schema=[it for it in schema if it.name not in shadows]))
            judged = derived(connection, schema)
            kept = tuple(it for it in judged if isinstance(it, Kept))
            left_out = tuple(it for it in judged if isinstance(it, LeftOut))
            if not left_out:
                raise NotLean("", kept)
            searched = aside(partial(_searched, left_out=left_out))
            wanted = without(schema, left_out)
            fill(connection, wanted)
            contents = {**hashed(), **read_contents(connection, [it for it in wanted if it.name in shadows])}
            searches, damaged = searched()
            connection.execute("COMMIT")
        finish(connection, logged=logged)
    progress(total, total)
    return Taken(wanted, contents, left_out, kept, searches, damaged)


class _Aside(Protocol):
    """Begins something that only reads; the answer can be waited for."""

    def __call__(self, ask: Callable[[sqlite3.Connection], T]) -> Callable[[], T]: ...


@contextlib.contextmanager
def _aside(first: Access, end: float, *, alone: bool, private: bool) -> Iterator[_Aside]:
    """Begin a read transaction; what is asked within is asked in another thread, or where that cannot be, when due."""
    with access(first.path, alone=alone, private=private) as other:
        second = other.connection
        if not begin_together(first, other):
            yield lambda ask: partial(ask, first.connection)
            return
        with limited(second, end), ThreadPoolExecutor(1, thread_name_prefix="read") as pool:
            asked: list[Future[Any]] = []

            def aside(ask: Callable[[sqlite3.Connection], T]) -> Callable[[], T]:
                asked.append(pool.submit(ask, second))
                return asked[-1].result

            try:
                yield aside
            finally:
                pool.shutdown(wait=False, cancel_futures=True)
                while not all(it.done() for it in asked):  # one that is between two statements is not interrupted
                    second.interrupt()
                    time.sleep(_POLL)


def _searched(
    connection: sqlite3.Connection, left_out: Sequence[LeftOut]
) -> tuple[tuple[Search, ...], tuple[str, ...]]:
    """Search what is left out; the last are the tables in which nothing can be searched, for they are damaged."""
    searches: list[Search] = []
    damaged: list[str] = []
    for it in left_out:
        try:
            searches += list(sample(connection, it))
        except sqlite3.OperationalError:
            raise
        except sqlite3.DatabaseError:
            damaged.append(it.table)
    return tuple(searches), tuple(damaged)


def without(schema: Sequence[Entry], left_out: Sequence[LeftOut]) -> tuple[Entry, ...]:
    """Return a schema without some full-text tables, the tables that belong to them, and their triggers."""
    tables = {name for it in left_out for name in (it.table, *it.shadows)}
    triggers = {name for it in left_out for name in it.trigger_names}
    return tuple(it for it in schema if it.table not in tables and not (it.kind == "trigger" and it.name in triggers))


def _look(target: Path, total: int, progress: Progress) -> Callable[[], None]:
    def look() -> None:
        progress(min(os.stat(target).st_size, total), total)  # noqa: PTH116 - called a thousand times a second

    return look
