"""Do rows that refer to others find them?"""

from __future__ import annotations

import sqlite3

from hermes_backup.stages.checks.unasked import unasked
from hermes_backup.stages.things import Finding


def references(connection: sqlite3.Connection, name: str) -> Finding:
    """Look for rows whose foreign keys lead nowhere.

    They are no damage: the file is byte for byte what its host signed, and SQLite enforces foreign keys only where a
    program asks for it. So the agent wrote them, and they are told as what nobody could prove.
    """
    what = f"{name}: foreign keys"
    try:
        violations = connection.execute("PRAGMA foreign_key_check").fetchall()
    except sqlite3.OperationalError as error:
        mismatch = "foreign key mismatch" in str(error)  # a key that names no column: the agent's own schema
        return Finding(what, "unproven" if mismatch else unasked(error), f"SQLite says: {error}")
    if not violations:
        return Finding(what, "ok", "every reference finds its row")
    tables = ", ".join(sorted({str(it[0]) for it in violations}))
    rows = "row refers" if len(violations) == 1 else "rows refer"
    return Finding(what, "unproven", f"{len(violations)} {rows} to what is not there, in {tables}; so it was backed up")
