"""A lean copy from its beginning to its check, as the stage ``sqlite`` makes one, in one go."""

from __future__ import annotations

import time
from pathlib import Path

from hermes_backup.home.databases.copying import Progress, discard, no_progress
from hermes_backup.home.databases.facts import DatabaseBroken
from hermes_backup.home.databases.filling import NotLean
from hermes_backup.home.databases.lean import Copied, begin_lean, copy_whole, look_at_nothing


def copy_lean(
    source: Path, target: Path, *, deadline: float, progress: Progress = no_progress, name: str = ""
) -> Copied:
    """Copy and check; what its check refuses is copied whole, or nothing is left."""
    end = time.monotonic() + deadline
    made = begin_lean(source, target, deadline=deadline, progress=progress, name=name)
    try:
        return made.check(look_at_nothing)
    except (NotLean, DatabaseBroken) as why:
        discard(target)
        if isinstance(why, DatabaseBroken):
            raise
        refused = why
    left = end - time.monotonic()
    return copy_whole(source, target, refused, deadline=left, progress=progress, name=name)
