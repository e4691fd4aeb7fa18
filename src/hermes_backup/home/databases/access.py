"""A home's database opened by SQLite, which takes paths alone, and follows whatever lies there when it opens them.

It opens them with the rights of the file's owner, so that nothing is made or changed that the owner could not make or
change. What it opened is then compared with what lies in the held folder, before any of it counts.
"""

from __future__ import annotations

import os
import sqlite3
import stat
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from hermes_backup.home.databases.facts import (
    DatabaseBroken,
    beside,
    broken,
    count_rows,
    limited,
    reading,
    require_database,
    shape,
    tables_of,
)
from hermes_backup.streams.rights import rights_of

Identity = tuple[int, int]


@dataclass(frozen=True)
class Access:
    """A connection that reads a database of a home, or a private copy of one.

    Attributes:
        path: of the file, in a folder that is held.
        owner: whose rights are needed; None for a private copy.
        logged: whether SQLite has a log of it open.
        before: what this process had open before.
    """

    connection: sqlite3.Connection
    path: Path
    owner: tuple[int, int] | None
    logged: bool
    before: Counter[Identity]

    @contextmanager
    def rights(self) -> Iterator[None]:
        """Take on the owner's rights: needed whenever a transaction begins, since SQLite may open files then.

        Raises:
            DatabaseBroken: this process may not, or what was opened then is not what lies there.
        """
        with _rights(self.owner):
            yield
        self.compare()

    def begin(self) -> None:
        """Begin a read transaction, and read, so that it sees this moment.

        Raises:
            DatabaseBroken, sqlite3.Error.
        """
        with self.rights():
            self.connection.execute("BEGIN")
            look(self.connection)

    def compare(self) -> None:
        """Make sure that SQLite has open what lies in the held folder.

        Raises:
            DatabaseBroken: it has something else.
        """
        if self.owner is None:
            return
        now = _open_files()
        known: set[Identity | None] = set()
        for side in ("", "-wal", "-shm") if self.logged else ("",):
            there = _identity(beside(self.path, side), self.owner[0])
            # all connections of a process share one -shm, which need not be opened again
            opened = 0 if there is None else now[there] - (0 if side == "-shm" else self.before[there])
            # one file under two names would stand for another one that is open in its place
            if opened <= 0 or there in known:
                raise DatabaseBroken("something else was put in its place while it was opened")
            known.add(there)


@contextmanager
def access(path: Path, *, alone: bool = False, private: bool = False) -> Iterator[Access]:
    """Open a database to read it, and read what it consists of; ``alone`` as :func:`reading` has it.

    ``private``: it is a copy of ours, in a folder that nobody else may enter.

    Raises:
        DatabaseBroken: it is none, or what was opened is not what lies there.
        sqlite3.Error: it cannot be read.
    """
    status = path.lstat()
    if not stat.S_ISREG(status.st_mode):
        raise DatabaseBroken("it is no file any more")
    require_files_beside(path)
    owner = None if private else (status.st_uid, status.st_gid)
    before = _open_files()
    with ExitStack() as stack:
        with _rights(owner):
            connection = stack.enter_context(reading(path, alone=alone))
            look(connection)
            (mode,) = connection.execute("PRAGMA main.journal_mode").fetchone()
        found = Access(connection, path, owner, mode == "wal" and not alone, before)
        found.compare()
        yield found


def live_rows(path: Path, *, private: bool = False) -> Mapping[str, int]:
    """Count the rows of every real table of a database that may be in use, in one read transaction.

    Raises:
        DatabaseBroken: it is missing, empty, locked or damaged.
    """
    require_database(path)
    try:
        with access(path, private=private) as opened, limited(opened.connection, float("inf")):
            opened.begin()
            return count_rows(opened.connection, tables_of(shape(opened.connection)))
    except sqlite3.Error as error:
        raise broken(error) from error


def require_files_beside(path: Path) -> None:
    """Make sure that what SQLite would open beside a database are files: it waits for ever for a pipe's other end.

    Raises:
        DatabaseBroken: something else lies there.
    """
    for side in ("-wal", "-shm", "-journal"):
        with suppress(FileNotFoundError):
            if not stat.S_ISREG(beside(path, side).lstat().st_mode):
                raise DatabaseBroken(f"its {side} is no file")


def look(connection: sqlite3.Connection) -> None:
    """Read something real: only then SQLite opens a log, and a transaction sees a moment."""
    connection.execute("SELECT count(*) FROM main.sqlite_master").fetchone()


@contextmanager
def _rights(owner: tuple[int, int] | None) -> Iterator[None]:
    with ExitStack() as stack:
        try:
            stack.enter_context(rights_of(*(owner or (0, 0))))
        except PermissionError as error:  # as root SQLite could make files wherever a link leads
            raise DatabaseBroken(f"{error.strerror}: give them to this service or container") from error
        yield


def _identity(path: Path, owner: int) -> Identity | None:
    """Return device and inode of an owner's file; None where something else lies."""
    try:
        status = path.lstat()
    except OSError:
        return None
    return (status.st_dev, status.st_ino) if stat.S_ISREG(status.st_mode) and status.st_uid == owner else None


def _open_files() -> Counter[Identity]:
    """Count what this process has open, by device and inode; nothing is opened, which would drop SQLite's locks."""
    found: Counter[Identity] = Counter()
    for it in Path("/proc/self/fd").iterdir():
        try:
            status = os.fstat(int(it.name))
        except OSError:
            continue
        found[status.st_dev, status.st_ino] += 1
    return found
