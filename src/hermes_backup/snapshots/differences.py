"""What differs between two snapshots, told by their lists of files and their manifests alone.

Dates are no difference, as in ``if_changed``: names, kinds, contents, modes and owners are compared.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Literal

from hermes_backup.snapshots.index import Lines
from hermes_backup.snapshots.manifest import Database
from hermes_backup.streams.members import Member

Aspect = Literal["kind", "content", "mode", "owner"]
_SHADOWS = ("_data", "_idx", "_content", "_docsize", "_config")  # of FTS5 (sqlite.org/fts5.html)
_ALWAYS = ("_data", "_idx", "_config")


@dataclass(frozen=True)
class Pair:
    """A file in the older and in the newer snapshot."""

    old: Member
    new: Member

    @property
    def aspects(self) -> tuple[Aspect, ...]:
        """In what they differ, besides their names."""
        return aspects(self.old, self.new)


@dataclass(frozen=True)
class Difference:
    """What became of every file; each is named once, sorted by its newer name. ``same`` counts the others."""

    added: tuple[Member, ...]
    changed: tuple[Pair, ...]
    removed: tuple[Member, ...]
    renamed: tuple[Pair, ...]
    same: int


@dataclass(frozen=True)
class Rows:
    """How many rows a table has in the older and in the newer snapshot; None where there is no such table."""

    table: str
    old: int | None
    new: int | None


@dataclass(frozen=True)
class DatabaseChange:
    """A database that is only in one snapshot (None for the other), or whose tables differ: those that do."""

    path: str
    old: Database | None
    new: Database | None
    tables: tuple[Rows, ...]


def aspects(old: Member, new: Member) -> tuple[Aspect, ...]:
    """Return in what two entries differ; nothing where only dates and names do."""
    if old.kind != new.kind:
        return ("kind",)
    found: list[Aspect] = []
    if (old.size, old.sha256, old.link) != (new.size, new.sha256, new.link):
        found.append("content")
    if old.mode != new.mode:
        found.append("mode")
    if (old.uid, old.gid) != (new.uid, new.gid):
        found.append("owner")
    return tuple(found)


def plain(members: Iterable[Member], known: Lines) -> tuple[Member, ...]:
    """Return the entries sorted by name, hard links as the files that they are: which name comes first means nothing.

    Of entries with the same name the last one counts, as when tar extracts them.

    Raises:
        Fault: INDEX_TOO_LARGE.
    """
    named = {it.name: it for it in members}
    made = []
    for name in sorted(named):
        it = named[name]
        target = named.get(it.link) if it.kind == "hardlink" and it.link is not None else None
        made.append(known.named(name, target) if target is not None and target.kind == "file" else it)
    return tuple(made)


def compare(old: Sequence[Member], new: Sequence[Member]) -> Difference:
    """Compare two lists, each with every name once (:func:`plain`)."""
    before = {it.name: it for it in old}
    after = {it.name: it for it in new}
    both = [Pair(before[name], after[name]) for name in sorted(before.keys() & after.keys())]
    changed = tuple(it for it in both if it.old is not it.new and it.aspects)
    removed = [before[name] for name in sorted(before.keys() - after.keys())]
    added = [after[name] for name in sorted(after.keys() - before.keys())]
    renamed = _pairs(removed, added)
    gone, come = {it.old.name for it in renamed}, {it.new.name for it in renamed}
    return Difference(
        added=tuple(it for it in added if it.name not in come),
        changed=changed,
        removed=tuple(it for it in removed if it.name not in gone),
        renamed=renamed,
        same=len(both) - len(changed),
    )


def leaves(members: Sequence[Member]) -> tuple[Member, ...]:
    """Leave out folders that hold others of these: a folder comes and goes with what is in it."""
    ordered = sorted((it.name for it in members), key=lambda it: it.replace(b"/", b"\0"))  # what it holds comes next
    holding = {one for one, after in pairwise(ordered) if after.startswith(one + b"/")}
    return tuple(it for it in members if it.kind != "dir" or it.name not in holding)


def compare_databases(old: Sequence[Database], new: Sequence[Database]) -> tuple[DatabaseChange, ...]:
    """Compare what two manifests count, sorted by path; a database with the same tables and rows is left out.

    That one of them leaves out a search index, which is made of other tables, is no difference.
    """
    before = {it.path: it for it in old}
    after = {it.path: it for it in new}
    made = []
    for path in sorted(before.keys() | after.keys()):
        one, other = before.get(path), after.get(path)
        rows = _rows(one, other)
        if rows or one is None or other is None:
            made.append(DatabaseChange(path, one, other, rows))
    return tuple(made)


def own_rows(rows: Sequence[Rows], tables: Iterable[str]) -> tuple[Rows, ...]:
    """Leave out what SQLite keeps for itself: the tables behind a full-text index of these tables, and its counters."""
    there = set(tables)
    return tuple(it for it in rows if not it.table.startswith("sqlite_") and not _is_shadow(it.table, there))


def _rows(old: Database | None, new: Database | None) -> tuple[Rows, ...]:
    before = old.tables if old else {}
    after = new.tables if new else {}
    left_out = {index + it for one in (old, new) if one for index in one.left_out for it in _SHADOWS}
    every = (Rows(it, before.get(it), after.get(it)) for it in sorted((before.keys() | after.keys()) - left_out))
    return tuple(it for it in every if it.old != it.new)


def _is_shadow(table: str, tables: set[str]) -> bool:
    ending = next((it for it in _SHADOWS if table.endswith(it)), "")
    index = table.removesuffix(ending)
    return bool(ending) and all(index + it in tables for it in _ALWAYS)


def _pairs(removed: Sequence[Member], added: Sequence[Member]) -> tuple[Pair, ...]:
    """Find files that only moved: the same content, and rather the same last name than another."""
    same_name = _paired(removed, added, lambda it: (it.sha256, it.name.rpartition(b"/")[2]))
    old, new = {it.old.name for it in same_name}, {it.new.name for it in same_name}
    left = [it for it in removed if it.name not in old], [it for it in added if it.name not in new]
    other_name = _paired(*left, lambda it: it.sha256)
    return tuple(sorted(same_name + other_name, key=lambda it: it.new.name))


def _paired(removed: Sequence[Member], added: Sequence[Member], key: Callable[[Member], Hashable]) -> list[Pair]:
    waiting: dict[Hashable, list[Member]] = {}
    for it in reversed(removed):
        if it.kind == "file" and it.size and it.sha256:
            waiting.setdefault(key(it), []).append(it)
    files = (it for it in added if it.kind == "file" and it.size)
    return [Pair(found.pop(), it) for it in files if (found := waiting.get(key(it)))]
