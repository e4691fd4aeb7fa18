"""Is the newest snapshot of a pipeline new enough? Decided from times alone."""

from __future__ import annotations

import re
from collections.abc import Iterable
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from hermes_backup.pipeline.model import Schedule

Freshness = Literal["fresh", "stale", "none", "unknown", "not judged"]

SKEW = timedelta(minutes=5)
"""Clocks of two machines differ a little; a snapshot dated further ahead tells nothing of its age."""

_DAY = timedelta(days=1)
_WORDS = {
    "minutely": _DAY, "hourly": _DAY, "daily": _DAY, "weekly": 7 * _DAY, "monthly": 31 * _DAY,
    "quarterly": 92 * _DAY, "semiannually": 184 * _DAY, "semi-annually": 184 * _DAY,
    "yearly": 366 * _DAY, "annually": 366 * _DAY,
}  # fmt: skip
_WEEK = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
_WEEKDAYS = re.compile(rf"(?:(?:{'|'.join(_WEEK)})[a-z]*(?:\.\.|,|-)?)+")
_DATE = re.compile(r"(?:\S+-)?(\S+)[-~](\S+)")
_RANGE = re.compile(r"([0-9]{1,2})\.\.([0-9]{1,2})")
_EVERY = "*"
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


def longest_pause(schedule: Schedule) -> timedelta:
    """Return the longest time between two runs, as far as the schedule shows it; at least a day for a calendar."""
    if schedule.every is not None:
        return schedule.every
    calendar = (schedule.on_calendar or "").strip().lower()
    if calendar in _WORDS:
        return _WORDS[calendar]
    words = calendar.split()
    on_weekdays = bool(words) and _WEEKDAYS.fullmatch(words[0]) is not None
    date = _DATE.fullmatch(words[on_weekdays]) if len(words) > on_weekdays else None
    if date is None or date.groups() == (_EVERY, _EVERY):
        return _between(words[0]) * _DAY if on_weekdays else _DAY
    month, days = date.groups()
    if not on_weekdays:
        return 31 * _DAY if month == _EVERY else 366 * _DAY
    week = _RANGE.fullmatch(days) if month == _EVERY else None
    whole = week is not None and int(week[2]) - int(week[1]) >= len(_WEEK) - 1
    return 35 * _DAY if whole else 427 * _DAY  # the first Sunday of each month; the longest wait for a Friday 13th


def _between(weekdays: str) -> int:
    """Return the most days between two of ``mon..fri`` or ``mon,thu``."""
    days: set[int] = set()
    for part in weekdays.split(","):
        ends = [_WEEK.index(name[:3]) for name in re.split(r"\.\.|-", part) if name]
        if ends:
            days |= {(ends[0] + step) % 7 for step in range((ends[-1] - ends[0]) % 7 + 1)}
    ordered = sorted(days)
    return max((later - day - 1) % 7 + 1 for day, later in zip(ordered, [*ordered[1:], *ordered[:1]], strict=True))
