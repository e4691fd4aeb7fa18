"""Is the newest snapshot of a pipeline new enough? Decided from times alone."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Literal

from hermes_backup.pipeline.cadence import longest_pause
from hermes_backup.snapshots.retention import SKEW

if TYPE_CHECKING:
    from hermes_backup.pipeline.model import Schedule

Freshness = Literal["fresh", "stale", "none", "unknown", "not judged"]

_DAY = timedelta(days=1)
_RANK: tuple[Freshness, ...] = ("stale", "none", "unknown", "fresh", "not judged")


def judge(newest: datetime | None, *, blind: bool, allowed: timedelta, now: datetime) -> Freshness:
    """Decide by the newest snapshot that was seen; ``blind``: there may be a newer one, in a place nobody could read.

    One from the future, beyond what clocks differ, is not fresh: it tells nothing of its age.
    """
    if newest is not None and newest <= now + SKEW and now - newest <= allowed:
        return "fresh"
    if blind:
        return "unknown"
    return "none" if newest is None else "stale"


def worst(states: Iterable[Freshness]) -> Freshness:
    """Return what is to be said of several: one that is stale makes all of them stale."""
    return min(states, key=_RANK.index, default="not judged")


def allowed_age(schedule: Schedule, max_age: timedelta) -> timedelta:
    """Return how old the newest snapshot of a pipeline may be: ``max_age`` is meant for one that runs every day.

    One that runs less often may be older by what its longest pause is more than a day.
    """
    return max_age + max(longest_pause(schedule) - _DAY, timedelta(0))
