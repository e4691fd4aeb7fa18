"""Search indexes that a snapshot left out: made again where it was unpacked, and asked what the original answered."""

from __future__ import annotations

import contextlib
import os
import sqlite3
import time
from collections.abc import Callable, Iterator, Sequence
from itertools import groupby
from pathlib import Path

from hermes_backup.errors import RESTORE_REFUSED
from hermes_backup.home.databases.authorizer import StatementRefused
from hermes_backup.home.databases.derived import LeftOut, derived
from hermes_backup.home.databases.facts import DatabaseBroken, address, limited, reading
from hermes_backup.home.databases.rebuilding import check_index, rebuild
from hermes_backup.home.databases.schema import read_schema
from hermes_backup.home.databases.searching import answered_otherwise
from hermes_backup.home.printable import printable
from hermes_backup.snapshots.remaking import Remaking
from hermes_backup.stages.checks.patience import patience
from hermes_backup.stages.remaking import left_out, searches
from hermes_backup.stages.room import free_in, indexes_size
from hermes_backup.stages.things import Finding, Tree

_BY_HERMES = "Hermes makes them at its first start"


def remade(tree: Tree, *, full: bool, told: Callable[[int, int], None]) -> Iterator[Finding]:
    """Make what was left out again, database by database; ``told`` hears of the bytes of each that it is made of.

    The time for all of it is in proportion to the bytes of these databases. Statements that would do anything but make
    an index are a failure.
    ``full``: an index that cannot be made is a failure, as is one that answers otherwise than at home, or that is not
    proven again to be made of other tables. Else it is told, and left to Hermes: such a home is better than none.
    """
    there = {printable(it.name): it.name for it in tree.members if it.kind in ("file", "hardlink")}
    ordered = sorted((it for it in tree.remakings if it.database in there), key=lambda it: it.database)
    found = [
        (tree.root / os.fsdecode(there[database]), tuple(those))
        for database, those in groupby(ordered, key=lambda it: it.database)
    ]
    end = time.monotonic() + patience(sum(path.stat().st_size for path, _ in found))
    for path, those in found:
        yield _remade(path, those, end, full=full, told=told)


def _remade(
    path: Path, remakings: Sequence[Remaking], end: float, *, full: bool, told: Callable[[int, int], None]
) -> Finding:
    what = f"{remakings[0].database}: search indexes"
    before = path.stat()

    def made_of(rows: int, total: int) -> None:
        told(before.st_size * rows // max(1, total), before.st_size)

    try:
        _require_room(path, before.st_size)
        rebuild(path, [left_out(it) for it in remakings], deadline=end - time.monotonic(), progress=made_of)
        wrong, total = _answers(path, remakings, end)
        if full:
            _compare(path, remakings, end)
        unproven = _unproven(path, remakings, end) if full else ()
    except StatementRefused as error:
        return Finding(what, "failed", error.reason, name=RESTORE_REFUSED.name)
    except (DatabaseBroken, sqlite3.Error) as error:
        why = error.reason if isinstance(error, DatabaseBroken) else f"SQLite says: {error}"
        return Finding(what, "failed" if full else "unproven", why if full else f"{why}; {_BY_HERMES}")
    finally:
        os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    made = f"{len(remakings)} made again, {sum(it.rows for it in remakings)} rows"
    if wrong:
        said = f"{wrong} of {total} searches do not find what they found"
        return Finding(what, "failed" if full else "unproven", said if full else f"{made}; {said} at home")
    if unproven:
        return Finding(what, "failed", f"not proven again to be made of other tables: {', '.join(unproven)}")
    return Finding(what, "ok", f"{made}; {total} searches find what they found")


def _require_room(path: Path, size: int) -> None:
    needed, free = indexes_size(size), free_in(path.parent)
    if needed > free:
        raise DatabaseBroken(f"there is no room for them: they need about {needed} bytes, {free} are free")


def _answers(path: Path, remakings: Sequence[Remaking], end: float) -> tuple[int, int]:
    """Return how many searches find otherwise than at home, and how many there are."""
    known = [one for it in remakings for one in searches(it)]
    with reading(path, alone=True) as connection, limited(connection, end):
        return len(answered_otherwise(connection, known)), len(known)


def _unproven(path: Path, remakings: Sequence[Remaking], end: float) -> tuple[str, ...]:
    """Ask of each, as the backup did, whether it is what its triggers would make; name those of which it is not."""
    with reading(path, alone=True) as connection, limited(connection, end):
        connection.execute("PRAGMA trusted_schema = OFF")  # the schema is the snapshot's word, not ours
        judged = derived(connection, read_schema(connection))
    proven = {it.table: it.rows for it in judged if isinstance(it, LeftOut)}
    return tuple(it.table for it in remakings if proven.get(it.table) != it.rows)


def _compare(path: Path, remakings: Sequence[Remaking], end: float) -> None:
    """Let FTS5 compare each index with its content, which takes 20 s for a GB: in a scratch copy, in memory."""
    opened = sqlite3.connect(address(path, "rw"), uri=True, isolation_level=None)
    with contextlib.closing(opened) as connection, limited(connection, end):
        for it in remakings:
            check_index(connection, it.table)
