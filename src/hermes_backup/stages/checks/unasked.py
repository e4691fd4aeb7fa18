"""What it means that SQLite could not answer."""

from __future__ import annotations

import sqlite3

from hermes_backup.home.databases.facts import FOREIGN
from hermes_backup.stages.things import Verdict


def unasked(error: sqlite3.OperationalError) -> Verdict:
    """Return ``unproven`` where a part needs an extension that only the agent has; anything else is a failure."""
    return "unproven" if FOREIGN.search(str(error)) else "failed"
