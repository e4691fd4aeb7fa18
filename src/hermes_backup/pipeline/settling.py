"""What the settings of stages come to among the others of their pipeline."""

from __future__ import annotations

from collections.abc import Sequence

from hermes_backup.stages.archive import Archive
from hermes_backup.stages.sqlite import Sqlite
from hermes_backup.stages.stage import Stage

_WHOLE = "search_indexes: auto keeps every index here, for an image is used as it lies"


def settled(stages: Sequence[Stage]) -> tuple[tuple[Stage, ...], tuple[str, ...]]:
    """Return stages as they will run, and what that changes of what somebody declared.

    An image is mounted and used at once, so ``auto`` leaves nothing out of it.
    """
    if not any(isinstance(it, Archive) and it.format == "squashfs" for it in stages):
        return tuple(stages), ()
    leaving = [it for it in stages if isinstance(it, Sqlite) and it.search_indexes == "auto"]
    whole = tuple(it.model_copy(update={"search_indexes": "keep"}) if it in leaving else it for it in stages)
    return whole, (_WHOLE,) if any("search_indexes" in it.model_fields_set for it in leaving) else ()
