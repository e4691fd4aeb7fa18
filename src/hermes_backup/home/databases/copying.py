"""A consistent copy of one database, taken while its owner goes on writing, the original left as it is.

A database that nobody has open is copied as the bytes that lie there, because SQLite's own readers would put
``-wal`` and ``-shm`` beside it. One that is in use is read in one transaction through the backup API: without
the transaction, ten writes a second are enough to restart a stepped backup for ever (measured).

While a copy is under way, nothing else in this process may open and close the database's file: POSIX locks
belong to the process, so closing any descriptor drops SQLite's (https://sqlite.org/howtocorrupt.html, 2.2).
"""

from __future__ import annotations

import contextlib
import errno
import os
import sqlite3
import stat
import time
from collections.abc import Callable
from typing import TYPE_CHECKING

from hermes_backup.errors import DISK_FULL, NO_ROOM, Fault
from hermes_backup.home.beginnings import beginning
from hermes_backup.home.databases.access import access
from hermes_backup.home.databases.facts import (
    DatabaseBroken,
    DatabaseFacts,
    address,
    beside,
    broken,
    facts,
    limited,
    reading,
    require_database,
    shape,
)
from hermes_backup.home.databases.still import Moved, copy_still

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from hermes_backup.home.databases.facts import Shape

Progress = Callable[[int, int], None]

_STEP_BYTES = 16 << 20


def no_progress(done: int, total: int) -> None:
    """Tell nobody."""


def copy(
    source: Path, target: Path, *, deadline: float, progress: Progress = no_progress, name: str = ""
) -> DatabaseFacts:
    """Copy a database to a file that is not there yet, check the copy, and return what it holds.

    ``deadline`` is in seconds from now. ``progress`` is called with bytes done and bytes in all, and may
    raise to end it. ``name`` is what the facts call it, by default the file's own name. The copy is one file
    with mode, times and (as root) owner of the original. On any failure nothing is left at the target.

    Raises:
        DatabaseBroken: the database is missing, empty, damaged, locked, or not copied in time.
        Fault: DISK_FULL when the target's file system has no room.
    """
    end = time.monotonic() + deadline
    with making(source, target):
        take(source, target, end, mindful(progress, end))
        return facts(target, name=name, deadline=end - time.monotonic())


def mindful(progress: Progress, end: float) -> Progress:
    """Return a progress that also minds the time."""

    def minded(done: int, total: int) -> None:
        progress(done, total)
        if time.monotonic() > end:
            raise DatabaseBroken("it was not done by its deadline")

    return minded


@contextlib.contextmanager
def making(source: Path, target: Path) -> Iterator[None]:
    """Make a copy within, which gets the original's mode, times and owner; on any failure nothing is left.

    Raises:
        DatabaseBroken: the database is missing, empty, damaged, locked, or not copied in time.
        Fault: DISK_FULL when the target's file system has no room.
    """
    status = require_database(source)
    target.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    if os.path.lexists(target):
        raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), str(target))
    try:
        yield
        _dress(target, status)
    except sqlite3.Error as error:
        discard(target)
        if "disk is full" in str(error):
            raise _disk_full(target) from error
        raise broken(error) from error
    except OSError as error:
        discard(target)
        if error.errno in NO_ROOM:
            raise _disk_full(target) from error
        raise DatabaseBroken(f"it could not be copied: {error.strerror}") from error
    except BaseException:
        discard(target)
        raise


def take(source: Path, target: Path, end: float, progress: Progress) -> None:
    """Copy all of a database, by the way that its holders allow; whoever calls cleans up."""
    if not has_readers(source):
        with contextlib.suppress(Moved):
            copy_still(source, target, progress)
            return
        discard(target)
    try:
        _copy_live(source, target, end, progress)
    except sqlite3.OperationalError as error:
        if not cannot_prepare(error):
            raise
    else:
        return
    # The folder takes no -shm from us, or a journal waits to be rolled back. If nothing moves, bytes will do.
    discard(target)
    try:
        copy_still(source, target, progress)
    except Moved as error:
        raise DatabaseBroken(
            "it is in use, and SQLite may not write beside it: run as the home's owner or as root"
        ) from error


def readable(source: Path, target: Path) -> Path:
    """Return what SQLite may open to read a database: itself where it is in use, else a copy of its bytes.

    SQLite would put ``-wal`` and ``-shm`` beside one that nobody has open. Whoever calls removes the copy.

    Raises:
        DatabaseBroken: it is missing, empty, damaged, or could not be copied.
        Fault: DISK_FULL when the target's file system has no room.
    """
    require_database(source)
    chosen = source
    if not has_readers(source):
        with contextlib.suppress(Moved):
            with making(source, target):
                copy_still(source, target, no_progress)
            chosen = target
    return chosen


def has_readers(source: Path) -> bool:
    """Say whether someone seems to have the database open: in WAL mode they share a ``-shm``."""
    return os.path.lexists(beside(source, "-shm")) or not is_wal(source)


def is_wal(path: Path) -> bool:
    """Say whether a database is written to through a log."""
    return (beginning(path, 20) or b"")[18:20] == b"\2\2"


def cannot_prepare(error: sqlite3.OperationalError) -> bool:
    """Say whether SQLite gave up because it may not write beside the database."""
    return any(text in str(error) for text in ("readonly database", "unable to open database file"))


def _copy_live(source: Path, target: Path, end: float, progress: Progress) -> None:
    """Copy through SQLite, in one read transaction: the writer goes on, and the copy is of one moment."""
    with access(source) as opened, limited(opened.connection, end):
        connection = opened.connection
        opened.begin()
        before = shape(connection)
        with contextlib.closing(_new(target)) as copied:

            def step(_status: int, remaining: int, total: int) -> None:
                progress((total - remaining) * before.page_size, total * before.page_size)

            connection.backup(copied, pages=max(1, _STEP_BYTES // before.page_size), progress=step)
    require_same(before, target)


def _new(target: Path) -> sqlite3.Connection:
    """Make the file to copy to, without syncing or a journal: it is a temporary, and checked afterwards."""
    os.close(os.open(target, os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_CLOEXEC, 0o600))
    connection = sqlite3.connect(address(target, "rw"), uri=True, isolation_level=None)
    connection.executescript("PRAGMA journal_mode=OFF; PRAGMA synchronous=OFF; PRAGMA locking_mode=EXCLUSIVE;")
    return connection


def require_same(before: Shape, target: Path) -> None:
    """Refuse a copy that is sound but not of this source: an empty database is sound too.

    Raises:
        DatabaseBroken: it has other pages or another schema.
    """
    with reading(target, alone=True) as connection:
        after = shape(connection)
    if after != before:
        raise DatabaseBroken(
            f"the copy differs: {after.pages} pages of {before.pages},"
            f" {len(after.schema)} of {len(before.schema)} in its schema"
        )


def _dress(target: Path, status: os.stat_result) -> None:
    """Give the copy what the archive shall show of the original; its owner last, for then it is not ours any more."""
    target.chmod(stat.S_IMODE(status.st_mode))
    os.utime(target, ns=(status.st_atime_ns, status.st_mtime_ns))
    if os.geteuid() == 0:
        os.chown(target, status.st_uid, status.st_gid)


def discard(target: Path) -> None:
    """Remove what there is of a copy."""
    for side in ("", "-wal", "-shm", "-journal"):
        beside(target, side).unlink(missing_ok=True)


def _disk_full(target: Path) -> Fault:
    return Fault(DISK_FULL, "no room for the copy of a database", where=str(target.parent))
