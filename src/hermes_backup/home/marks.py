"""Marks of a home: what tells that nothing was written to it since, without reading it.

Any write, and any change of mode, owner, attributes or dates, gives a file a new ctime, which no program can set
(inode(7)). A folder's own times tell nothing: what is left out of a backup comes and goes in it, too. So its extended
attributes are looked at.

Of SQLite the header of each database counts, with its file change counter, and all logs: a log is written again from
its start after a checkpoint, and keeps its size, but not its salts (https://sqlite.org/fileformat.html, sections 1.3
and 4.1). A log's ctime tells nothing: whoever opens it as root gives it to the database's owner each time (os_unix.c,
robustFchown). A ``-shm`` is mapped memory, so its times tell nothing either; its header tells of every commit, with a
checksum over the whole log (https://sqlite.org/walformat.html, section 2.1).
"""

from __future__ import annotations

import hashlib
import os
import stat
from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass

from hermes_backup.home.beginnings import beginning_below
from hermes_backup.home.selection import Entry, Selection
from hermes_backup.streams.directory import Directory

_LOGS = (b"-wal", b"-journal")
_DATABASE_HEADER, _LOG_HEADER, _INDEX_HEADER = 100, 32, 48  # bytes; the last is the first of its two copies


@dataclass(frozen=True)
class DatabaseMark:
    """A database: its name relative to the root, and a digest of its header and of the header of its ``-shm``."""

    name: bytes
    state: str


@dataclass(frozen=True)
class Marks:
    """A home as it was seen: equal marks, nothing was written. All but names of databases and times are digests.

    Attributes:
        root: which folder it is.
        entries: everything that is chosen, as its inode tells.
        logs: the logs of databases, chosen or not; an empty one is none.
        newest: the newest ctime of a file, or mtime of a log, in nanoseconds.
    """

    root: str
    entries: str
    logs: str
    databases: tuple[DatabaseMark, ...]
    newest: int


@dataclass(frozen=True)
class Seen:
    """An entry with what its inode does not hold: where a link leads, and a folder's extended attributes."""

    entry: Entry
    link: bytes = b""
    attributes: tuple[tuple[str, bytes], ...] = ()


def take(root: Directory, selection: Selection, databases: Iterable[bytes]) -> Marks:
    """Look at a home; ``databases`` are the names of those that are known, relative to the root.

    What cannot be looked at gets a mark that says so.
    """
    itself = root.status()
    logs = tuple(_logs(root, selection))
    logged = {name for name, _, _ in logs}
    times = [it.ctime_ns for it in selection.entries if it.kind != "dir"]
    times += [status.st_mtime_ns for _, status, _ in logs]
    return Marks(
        root=digest([(os.fsencode(root.shown), itself.st_dev, itself.st_ino)]),
        entries=digest(told(_seen(root, it)) for it in selection.entries),
        logs=digest((name, _inode(status), start) for name, status, start in sorted(logs, key=lambda it: it[0])),
        databases=tuple(DatabaseMark(it, _state(root, it, logged=it + b"-wal" in logged)) for it in sorted(databases)),
        newest=max(times, default=0),
    )


def difference(before: Marks, now: Marks) -> str:
    """Say what differs, in a few words; empty where nothing does."""
    if before.root != now.root:
        return "it is another folder"
    if before.entries != now.entries:
        return "its files"
    if before.logs != now.logs:
        return "the logs of its databases"
    return "" if before == now else "its databases"


def told(seen: Seen) -> tuple[object, ...]:
    """Return everything of an entry that counts."""
    it = seen.entry
    itself = (it.name, it.kind, it.mode, it.inode, it.device, it.uid, it.gid, seen.link, seen.attributes)
    return itself if it.kind == "dir" else (*itself, it.size, it.mtime_ns, it.ctime_ns)


def digest(facts: Iterable[tuple[object, ...]]) -> str:
    """Hash rows of texts, bytes and numbers, in their order."""
    whole = hashlib.sha256()
    for it in facts:
        whole.update(repr(it).encode("utf-8", "surrogateescape") + b"\n")
    return whole.hexdigest()


def _seen(root: Directory, entry: Entry) -> Seen:
    try:
        if entry.kind == "link":
            above, _, last = entry.name.rpartition(b"/")
            with root.folder(above) as folder:
                return Seen(entry, link=os.readlink(last, dir_fd=folder.descriptor))
        return Seen(entry, attributes=_attributes(root, entry.name) if entry.kind == "dir" else ())
    except OSError as error:
        return Seen(entry, attributes=(("cannot be looked at", str(error.errno).encode()),))


def _attributes(root: Directory, name: bytes) -> tuple[tuple[str, bytes], ...]:
    with root.folder(name) as folder:
        names = os.listxattr(folder.descriptor)
        return tuple((it, os.getxattr(folder.descriptor, it)) for it in sorted(names))


def _logs(root: Directory, selection: Selection) -> Iterator[tuple[bytes, os.stat_result, bytes]]:
    """Yield the logs with content in every chosen folder: they are left out of the selection, being volatile."""
    for above in (b"", *(it.name for it in selection.entries if it.kind == "dir")):
        with suppress(OSError), root.folder(above) as folder, os.scandir(folder.descriptor) as children:
            for child in children:
                name = os.fsencode(child.name)
                if name.endswith(_LOGS):
                    status = child.stat(follow_symlinks=False)
                    if stat.S_ISREG(status.st_mode) and status.st_size:
                        yield (above + b"/" if above else b"") + name, status, _start(folder, name, _LOG_HEADER)


def _inode(status: os.stat_result) -> tuple[int, ...]:
    return (
        status.st_ino, status.st_dev, status.st_mode, status.st_uid, status.st_gid, status.st_size,
        status.st_mtime_ns,
    )  # fmt: skip


def _state(root: Directory, name: bytes, *, logged: bool) -> str:
    index = _start(root, name + b"-shm", _INDEX_HEADER) if logged else b""
    return digest([(_start(root, name, _DATABASE_HEADER), index)])


def _start(folder: Directory, name: bytes, most: int) -> bytes:
    """Return a file's first bytes; what cannot be read is told apart from what is empty."""
    try:
        start = beginning_below(folder, name, most)
    except OSError as error:
        return f"cannot be read: {error.errno}".encode()
    return b"cannot be opened" if start is None else start
