"""How old is the newest message, and can it be in a snapshot of that time?"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from datetime import datetime, timedelta, timezone

from hermes_backup.snapshots.manifest import Database
from hermes_backup.stages.things import Finding

_FILE, _TABLE, _COLUMN = "state.db", "messages", "timestamp"
_LATER = timedelta(hours=1)
"""A database is copied some time after its snapshot was begun, and clocks of two programs differ a little."""


def newest_message(connection: sqlite3.Connection, promised: Database, created: datetime) -> Iterator[Finding]:
    """Say how much older than its snapshot the newest message of a ``state.db`` is; one from later is refused."""
    if promised.path.rpartition("/")[2] != _FILE or _TABLE not in promised.tables:
        return
    what = f"{promised.path}: newest message"
    columns = [row[1] for row in connection.execute(f"PRAGMA table_info({_TABLE})")]
    if _COLUMN not in columns:
        yield Finding(what, "unproven", f"{_TABLE} has no column {_COLUMN}")
        return
    (newest,) = connection.execute(f"SELECT max({_COLUMN}) FROM {_TABLE}").fetchone()  # noqa: S608 - constants
    if newest is None:
        yield Finding(what, "unproven", "there is none")
        return
    try:
        written = datetime.fromtimestamp(float(newest), timezone.utc)
    except (ValueError, OverflowError, OSError, TypeError):
        yield Finding(what, "unproven", "its time is none")
        return
    before = created - written
    if before < -_LATER:
        yield Finding(what, "failed", f"it is {_spoken(-before)} newer than its snapshot")
    elif before < timedelta(0):
        yield Finding(what, "ok", f"{_spoken(-before)} after the snapshot was begun")
    else:
        yield Finding(what, "ok", f"{_spoken(before)} before the snapshot was begun")


def _spoken(span: timedelta) -> str:
    minutes = int(span.total_seconds()) // 60
    days = minutes // (24 * 60)
    return f"{days} d" if days > 1 else f"{minutes // 60} h" if minutes >= 120 else f"{minutes} min"  # noqa: PLR2004 - two hours
