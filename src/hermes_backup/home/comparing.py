"""Two homes side by side: the live one, and one that was restored."""

from __future__ import annotations

import os
import stat
import tempfile
from dataclasses import dataclass
from pathlib import Path

from hermes_backup.home.databases.copying import copy
from hermes_backup.home.databases.facts import DatabaseBroken, facts
from hermes_backup.home.databases.finding import find
from hermes_backup.home.databases.fulltext import besides_indexes
from hermes_backup.home.printable import printable
from hermes_backup.home.root import open_home
from hermes_backup.home.selection import Rules, select
from hermes_backup.streams.directory import Directory
from hermes_backup.streams.hashing import sha256_of

_DEADLINE = 600.0  # seconds for one database


@dataclass(frozen=True)
class Comparison:
    """What a restored home has in common with the live one; names are printable, rows are of all tables together."""

    same: int
    differing: tuple[str, ...]
    databases: tuple[tuple[str, int], ...]


def compare(live: Path, restored: Path, rules: Rules) -> Comparison:
    """Compare everything that a backup of ``live`` takes: kinds, modes, contents, and the rows of every database.

    Raises:
        Fault: HOME_MISSING, HOME_UNREADABLE, HOME_EMPTY.
    """
    with open_home(live) as root:
        return _compared(root, restored, rules)


def _compared(root: Directory, restored: Path, rules: Rules) -> Comparison:
    selection = select(root, rules)
    databases = {it.name for it in find(root, selection) if it.kind == "live"}
    equal = 0
    differing: list[str] = []
    rows: list[tuple[str, int]] = []
    for entry in selection.entries:
        name = os.fsdecode(entry.name)
        ours, theirs = root.path / name, restored / name
        count = _rows(ours, theirs) if entry.name in databases else None
        if count is not None:
            rows.append((printable(entry.name), count))
        if count is not None or (entry.name not in databases and _equal(ours, theirs)):
            equal += 1
        else:
            differing.append(printable(entry.name))
    return Comparison(equal, tuple(differing), tuple(rows))


def _equal(ours: Path, theirs: Path) -> bool:
    try:
        mine, other = ours.lstat(), theirs.lstat()
        if mine.st_mode != other.st_mode:
            return False
        if stat.S_ISLNK(mine.st_mode):
            return ours.readlink() == theirs.readlink()
        return not stat.S_ISREG(mine.st_mode) or sha256_of(ours) == sha256_of(theirs)
    except OSError:
        return False


def _rows(ours: Path, theirs: Path) -> int | None:
    """Return how many rows both databases have, table by table, without search indexes; None where they differ."""
    try:
        other = facts(theirs)
        with tempfile.TemporaryDirectory(prefix="hb-") as folder:
            staged = Path(folder) / "copy.db"
            mine = copy(ours, staged, deadline=_DEADLINE)
            here, there = besides_indexes(staged, mine.tables, other.tables, private=True)
    except DatabaseBroken:
        return None
    return sum(here.values()) if here == there else None
