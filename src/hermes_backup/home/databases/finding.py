"""Which files of a home are databases: told by their first bytes, whatever they are called."""

from __future__ import annotations

import contextlib
import os
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from hermes_backup.home.beginnings import beginning_below
from hermes_backup.home.databases.facts import HEADER
from hermes_backup.home.layout import is_known_database

if TYPE_CHECKING:
    from hermes_backup.home.selection import Selection
    from hermes_backup.streams.directory import Directory

Journal = Literal["wal", "rollback", "unknown"]
_WAL_MAGIC = (b"\x37\x7f\x06\x82", b"\x37\x7f\x06\x83")
_HEADER_BYTES = 100


@dataclass(frozen=True)
class Found:
    """A database, or what is left of one; ``name`` is relative to the root.

    - ``live``: a database; copying one with a ``rollback`` journal keeps its writers waiting meanwhile.
    - ``orphan-wal``: ``name`` is a log with content whose database is gone.
    - ``damaged``: it should be a database, by its name or the log beside it, and does not start as one.
    - ``empty``: hermes-agent keeps a database under this name, and the file has no bytes.
    """

    name: bytes
    kind: Literal["live", "orphan-wal", "damaged", "empty"]
    journal: Journal = "unknown"


def find(root: Directory, selection: Selection) -> tuple[Found, ...]:
    """Look at every selected file's first bytes, and in every selected folder for logs without a database.

    Files that vanish or cannot be read meanwhile are left to those who archive them.
    """
    logs = {log for folder in _folders(selection) for log in _logs(root, folder)}
    found = [_orphan(root, log) for log in logs]
    found += [
        _classify(root, entry.name, has_log=entry.name + b"-wal" in logs)
        for entry in selection.entries
        if entry.kind == "file" and (entry.size or is_known_database(entry.name) or entry.name + b"-wal" in logs)
    ]
    return tuple(sorted((one for one in found if one is not None), key=lambda one: one.name))


def _folders(selection: Selection) -> list[bytes]:
    return [b"", *(entry.name for entry in selection.entries if entry.kind == "dir")]


def _logs(root: Directory, name: bytes) -> list[bytes]:
    """Return the names of the files with content in a folder that end in -wal."""
    logs = []
    with contextlib.suppress(OSError), root.folder(name) as folder, os.scandir(folder.descriptor) as children:
        for child in children:
            if child.name.endswith("-wal") and child.is_file(follow_symlinks=False):
                with contextlib.suppress(FileNotFoundError):
                    if child.stat(follow_symlinks=False).st_size:
                        logs.append((name + b"/" if name else b"") + os.fsencode(child.name))
    return logs


def _orphan(root: Directory, log: bytes) -> Found | None:
    name = log.removesuffix(b"-wal")
    if root.has(name):
        return None
    start = _start(root, log)
    if start is None or not (start[:4] in _WAL_MAGIC or is_known_database(name)):
        return None
    return Found(log, "orphan-wal", "wal")


def _classify(root: Directory, name: bytes, *, has_log: bool) -> Found | None:
    start = _start(root, name)
    if start is None:
        return None
    if start.startswith(HEADER):
        return Found(name, "live", _journal(start))
    if not start and not has_log:
        return Found(name, "empty")
    return Found(name, "damaged") if has_log or is_known_database(name) else None


def _journal(start: bytes) -> Journal:
    """Read how a database is written to: https://sqlite.org/fileformat.html, bytes 18 and 19."""
    versions: dict[bytes, Journal] = {b"\2\2": "wal", b"\1\1": "rollback"}
    return versions.get(start[18:20], "unknown")


def _start(root: Directory, name: bytes) -> bytes | None:
    """Return a file's first bytes, None when there are none to be had."""
    with contextlib.suppress(OSError):
        return beginning_below(root, name, _HEADER_BYTES)
    return None
