"""What bringing a snapshot back would change in the home that is there: files, and rows of databases."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

from hermes_backup.errors import Fault
from hermes_backup.home.databases.access import live_rows
from hermes_backup.home.databases.copying import readable
from hermes_backup.home.databases.facts import DatabaseBroken
from hermes_backup.home.databases.fulltext import besides_indexes
from hermes_backup.home.printable import printable
from hermes_backup.home.selection import Entry, Rules, Selection, select
from hermes_backup.streams.directory import Directory, hold
from hermes_backup.streams.hashing import sha256_from
from hermes_backup.streams.members import Member
from hermes_backup.streams.scratch import scratch


@dataclass(frozen=True)
class Rows:
    """A table of a database: its rows in the live home and in the snapshot; None where there is no such table."""

    database: str
    table: str
    live: int | None
    then: int | None


@dataclass(frozen=True)
class Difference:
    """What would be added, changed and removed, by printable names; databases that cannot be asked say why."""

    added: tuple[str, ...]
    changed: tuple[str, ...]
    removed: tuple[str, ...]
    rows: tuple[Rows, ...]
    unknown: tuple[str, ...]


def against(
    home: Path, rules: Rules, members: Sequence[Member], databases: Mapping[str, Mapping[str, int]]
) -> Difference:
    """Compare a live home with the files and the databases' row counts of a snapshot; nothing is written.

    A database is compared by its rows, everything else by kind, mode and content.

    Raises:
        Fault: HOME_UNREADABLE, HOME_LINK; a home that is missing or empty counts as one without files.
    """
    with ExitStack() as held:
        try:
            root = held.enter_context(hold(home.absolute()))
        except FileNotFoundError:
            return Difference(tuple(printable(it) for it in sorted(it.name for it in members)), (), (), (), ())
        return _differences(root, rules, members, databases)


def _differences(
    root: Directory, rules: Rules, members: Sequence[Member], databases: Mapping[str, Mapping[str, int]]
) -> Difference:
    chosen = select(root, rules) if any(root.path.iterdir()) else Selection(())
    live = {it.name: it for it in chosen.entries}
    then = {it.name: it for it in members}
    unread = {it.path for it in chosen.skipped}  # what no backup may read is replaced like the rest
    rows: list[Rows] = []
    unknown: list[str] = []
    changed = []
    for name in sorted(live.keys() & then.keys()):
        shown = printable(name)
        if shown in databases:
            try:
                differing = _rows(shown, *_counted(root, name, databases[shown]))
            except (DatabaseBroken, Fault) as error:
                unknown.append(f"{shown}: {error.reason if isinstance(error, DatabaseBroken) else error.what}")
                continue
            rows += differing
            if not differing:
                continue
        elif _equal(root, live[name], then[name]):
            continue
        changed.append(shown)
    added = {printable(it) for it in then.keys() - live.keys()}
    removed = {printable(it) for it in live.keys() - then.keys()}
    return Difference(
        added=tuple(sorted(added - unread)),
        changed=tuple(sorted({*changed, *(added & unread)})),
        removed=tuple(sorted(removed | unread - added)),
        rows=tuple(rows),
        unknown=tuple(unknown),
    )


def _counted(root: Directory, name: bytes, then: Mapping[str, int]) -> tuple[Mapping[str, int], ...]:
    above, _, last = name.rpartition(b"/")
    with scratch() as room, root.folder(above) as folder:
        path = folder.path / os.fsdecode(last)
        opened = readable(path, room / "copy.db")
        private = opened != path
        return besides_indexes(opened, live_rows(opened, private=private), then, private=private)


def _rows(database: str, live: Mapping[str, int], then: Mapping[str, int]) -> list[Rows]:
    tables = sorted(live.keys() | then.keys())
    return [Rows(database, it, live.get(it), then.get(it)) for it in tables if live.get(it) != then.get(it)]


def _equal(root: Directory, live: Entry, then: Member) -> bool:
    kind = "file" if then.kind == "hardlink" else then.kind
    if live.kind != kind:
        return False
    try:
        if kind == "link":
            above, _, last = live.name.rpartition(b"/")
            with root.folder(above) as folder:
                return os.readlink(last, dir_fd=folder.descriptor) == then.link
        if live.mode & 0o777 != then.mode & 0o777:
            return False
        if kind == "dir" or then.kind == "hardlink":
            return kind == "dir" or live.size == then.size
        return live.size == then.size and sha256_from(root.open(live.name)) == then.sha256
    except OSError:
        return False
