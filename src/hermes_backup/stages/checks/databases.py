"""Is every database that the manifest names whole, and does it hold the rows that the manifest counts?"""

from __future__ import annotations

import os
import sqlite3
import time
from collections.abc import Callable, Iterator, Set
from contextlib import suppress
from pathlib import Path
from typing import Literal

from hermes_backup.home.beginnings import beginning
from hermes_backup.home.databases.contents import read_contents
from hermes_backup.home.databases.facts import HEADER, DatabaseBroken, facts, limited, reading
from hermes_backup.home.databases.fulltext import SHADOWS
from hermes_backup.home.databases.schema import read_schema
from hermes_backup.home.printable import printable
from hermes_backup.snapshots.manifest import Database
from hermes_backup.stages.checks.newest import newest_message
from hermes_backup.stages.checks.patience import patience
from hermes_backup.stages.checks.references import references
from hermes_backup.stages.checks.search import searches
from hermes_backup.stages.checks.unasked import unasked
from hermes_backup.stages.things import Finding, Tree

_MOST = 20  # complaints of SQLite; the first says enough


def databases(
    tree: Tree,
    *,
    counts: Literal["manifest", "none"],
    full: bool,
    told: Callable[[int, int], None],
    later: Set[str] = frozenset(),
) -> Iterator[Finding]:
    """Open each database of the manifest, check and count it; ``full``: prove also what takes longer.

    What the tables of those in ``later`` hold is left to :func:`contents`. A manifest cannot name what lies outside of
    the tree, nor what a link leads to.
    """
    there = {printable(it.name): it.name for it in tree.members if it.kind in ("file", "hardlink")}
    for number, promised in enumerate(tree.manifest.databases):
        told(number, len(tree.manifest.databases))
        name = there.get(promised.path)
        if name is None:
            yield Finding(promised.path, "failed", "missing")
            continue
        path = tree.root / os.fsdecode(name)
        found = _whole(path, promised, counts, compared=promised.path not in later)
        yield found
        if full and found.ok:
            yield from _deeper(path, promised, tree)
    if full:
        yield from _others(tree)


def contents(tree: Tree, names: Set[str]) -> Iterator[Finding]:
    """Compare what the tables of some databases hold with what the manifest promises, once statements were run in them.

    Tables in which a search index keeps what it holds are none that were saved.
    """
    there = {printable(it.name): it.name for it in tree.members if it.kind in ("file", "hardlink")}
    for promised in tree.manifest.databases:
        if promised.path in names and promised.path in there:
            indexes = [it.table for it in tree.remakings if it.database == promised.path]
            shadows = {table + it for table in indexes for it in SHADOWS}
            yield _as_saved(tree.root / os.fsdecode(there[promised.path]), promised, shadows)


def _as_saved(path: Path, promised: Database, shadows: Set[str]) -> Finding:
    what = f"{promised.path}: contents"
    try:
        other = _other_contents(path, promised, shadows)
    except sqlite3.Error as error:
        return Finding(what, "failed", f"SQLite says: {error}")
    if other:
        return Finding(what, "failed", f"other content than was saved: {', '.join(other)}")
    return Finding(what, "ok", f"{len(promised.contents)} tables, each with the content that was saved")


def _whole(path: Path, promised: Database, counts: Literal["manifest", "none"], *, compared: bool) -> Finding:
    try:
        found = facts(path, name=promised.path)
    except DatabaseBroken as error:
        return Finding(promised.path, "failed", error.reason)
    if counts == "manifest" and dict(found.tables) != promised.tables:
        names = sorted(found.tables.keys() | promised.tables.keys())
        differing = [it for it in names if found.tables.get(it) != promised.tables.get(it)]
        said = ", ".join(f"{it} {found.tables.get(it)} rows, not {promised.tables.get(it)}" for it in differing)
        return Finding(promised.path, "failed", said)
    rows = sum(found.tables.values())
    evidence = f"whole, {rows} rows in {len(found.tables)} tables"
    if counts == "manifest" and promised.contents and compared:
        other = _other_contents(path, promised, frozenset())
        if other:
            return Finding(promised.path, "failed", f"other content than was saved: {', '.join(other)}")
        evidence += ", each with the content that was saved"
    return Finding(promised.path, "ok", evidence)


def _other_contents(path: Path, promised: Database, shadows: Set[str]) -> list[str]:
    with reading(path, alone=True) as connection, limited(connection, _end(path)):
        schema = [it for it in read_schema(connection) if it.name in promised.contents or it.name not in shadows]
        held = read_contents(connection, schema)
    names = held.keys() | promised.contents.keys()
    return sorted(it for it in names if it not in held or held[it].sha256 != promised.contents.get(it))


def _deeper(path: Path, promised: Database, tree: Tree) -> Iterator[Finding]:
    try:
        with reading(path, alone=True) as connection, limited(connection, _end(path)):
            connection.execute("PRAGMA trusted_schema = OFF")  # the schema is the snapshot's word, not ours
            yield _integrity(connection, promised.path)
            yield references(connection, promised.path)
            yield from searches(connection, promised.path)
            yield from newest_message(connection, promised, tree.manifest.created)
    except sqlite3.Error as error:
        yield Finding(promised.path, "failed", f"SQLite says: {error}")


def _end(path: Path) -> float:
    return time.monotonic() + patience(path.stat().st_size)


def _integrity(connection: sqlite3.Connection, name: str) -> Finding:
    """Compare tables with their indexes, too, which the quick check leaves out."""
    what = f"{name}: integrity"
    try:
        rows = connection.execute(f"PRAGMA integrity_check({_MOST})").fetchall()
    except sqlite3.OperationalError as error:
        return Finding(what, unasked(error), f"SQLite says: {error}")
    said = [str(text) for (text,) in rows]
    return Finding(what, "ok" if said == ["ok"] else "failed", said[0] if said else "SQLite says nothing")


def _others(tree: Tree) -> Iterator[Finding]:
    """Name what nobody counted: databases that were archived as they lay, or that no stage copied."""
    counted = {it.path for it in tree.manifest.databases}
    alike = [
        printable(it.name)
        for it in tree.members
        if it.kind == "file" and it.size >= len(HEADER) and printable(it.name) not in counted
        if _starts_as_one(tree.root / os.fsdecode(it.name))
    ]
    if alike:
        many = "database has" if len(alike) == 1 else "databases have"
        yield Finding("databases", "unproven", f"{len(alike)} more {many} no counts in the manifest", tuple(alike))


def _starts_as_one(path: Path) -> bool:
    with suppress(OSError):
        return beginning(path, len(HEADER)) == HEADER
    return False
