"""Copying a database as the bytes that lie there, when nobody writes: SQLite would leave files beside it.

Whether somebody did write is told by the files' own times. The log is folded into the copy afterwards, so what
a crashed program had committed is in it.
"""

from __future__ import annotations

import contextlib
import errno
import os
import sqlite3
import stat
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

from hermes_backup.home.databases.facts import DatabaseBroken, address, beside, shape

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

_STEP_BYTES = 16 << 20
_TICK_NS = 50_000_000  # two writes closer than this can carry one time: kernels stamp files 100 times a second
_COARSE_TICK_NS = 2_000_000_000  # where a file system keeps whole seconds, or every other
_LONGEST_WAIT = 2.5  # more means that its clock is ahead of ours
_LOGGED = ("", "-wal", "-journal")


class Moved(Exception):  # noqa: N818 - it tells a state
    """The files were written to just before or meanwhile."""


@dataclass(frozen=True)
class _Seen:
    """A database and its logs at a moment: inode, size and times of each, None for no file.

    ``wait`` is in seconds: after it, no write can hide from a second look.
    """

    files: tuple[tuple[int, int, int, int] | None, ...]
    wait: float

    @property
    def total(self) -> int:
        """Bytes of all files."""
        return sum(size for _, size, _, _ in filter(None, self.files))


def copy_still(source: Path, target: Path, progress: Callable[[int, int], None]) -> None:
    """Copy a database and its log, then let SQLite fold the log into the copy.

    Raises:
        Moved: one of the files is being written to, so the bytes are of no one moment.
    """
    done = 0
    with unmoved(source) as seen:
        for side, file in zip(_LOGGED, seen.files, strict=True):
            if file is not None:
                for sent in _copy_bytes(beside(source, side), beside(target, side)):
                    done += sent
                    progress(min(done, seen.total), seen.total)
    _fold(target)


@contextlib.contextmanager
def unmoved(source: Path) -> Iterator[_Seen]:
    """Make sure that nobody writes to a database meanwhile: look at its files before and afterwards.

    Raises:
        Moved: somebody does.
    """
    before = _look(source)
    if before.wait > _LONGEST_WAIT:
        raise Moved
    time.sleep(before.wait)
    yield before
    if _look(source).files != before.files:
        raise Moved


def _look(source: Path) -> _Seen:
    statuses = [_status(beside(source, side)) for side in _LOGGED]
    now = time.time_ns()
    waits = [
        one.st_ctime_ns + (_TICK_NS if one.st_ctime_ns % 1_000_000_000 else _COARSE_TICK_NS) - now
        for one in statuses
        if one is not None
    ]
    files = tuple(one and (one.st_ino, one.st_size, one.st_mtime_ns, one.st_ctime_ns) for one in statuses)
    return _Seen(files, max(0, *waits) / 1e9)


def _status(path: Path) -> os.stat_result | None:
    try:
        return path.lstat()
    except FileNotFoundError:
        return None


def _copy_bytes(source: Path, target: Path) -> Iterator[int]:
    """Copy a file within the kernel; yield the bytes of each step."""
    reader = os.open(source, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    try:
        if not stat.S_ISREG(os.fstat(reader).st_mode):
            raise Moved
        writer = os.open(target, os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_CLOEXEC, 0o600)
        try:
            for at, end in _segments(reader):
                os.lseek(writer, at, os.SEEK_SET)
                left = end - at
                while left and (sent := os.sendfile(writer, reader, end - left, min(_STEP_BYTES, left))):
                    left -= sent
                    yield sent
            os.ftruncate(writer, os.fstat(reader).st_size)
        finally:
            os.close(writer)
    finally:
        os.close(reader)


def _segments(descriptor: int) -> Iterator[tuple[int, int]]:
    """Yield where a file has data: its holes take no room, and a copy of them would (lseek(2), SEEK_DATA)."""
    end = 0
    while True:
        try:
            start = os.lseek(descriptor, end, os.SEEK_DATA)
        except OSError as error:
            if error.errno == errno.ENXIO:
                return
            raise
        end = os.lseek(descriptor, start, os.SEEK_HOLE)
        yield start, end


def _fold(target: Path) -> None:
    """Recover a copy that came with a log: the last to close a database folds it in and removes it."""
    if not any(beside(target, side).exists() for side in _LOGGED[1:]):
        return
    with contextlib.closing(sqlite3.connect(address(target, "rw"), uri=True, isolation_level=None)) as connection:
        connection.execute("PRAGMA synchronous=OFF")
        shape(connection)
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    log = _status(beside(target, "-wal"))
    if log is not None and log.st_size:
        raise DatabaseBroken("its log could not be folded in")
    for side in _LOGGED[1:]:
        beside(target, side).unlink(missing_ok=True)
