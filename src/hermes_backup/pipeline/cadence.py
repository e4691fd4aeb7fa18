"""How often a schedule runs, as far as its text shows it: systemd's calendar expressions and intervals."""

from __future__ import annotations

import re
from datetime import timedelta
from typing import TYPE_CHECKING

from hermes_backup.snapshots.sightings import Pace

if TYPE_CHECKING:
    from hermes_backup.pipeline.model import Schedule

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
_SHORT = {"minutely": timedelta(minutes=1), "hourly": timedelta(hours=1), "monthly": 28 * _DAY, "quarterly": 90 * _DAY}
_FIELD = re.compile(r"(\*|[0-9]{1,2})(?:\.\.([0-9]{1,2}))?(?:/([0-9]{1,2}))?")
_MINUTES = 24 * 60


def pace(schedule: Schedule | None) -> Pace:
    """Return how fast a pipeline's snapshots may come; one without a schedule is taken for a daily one, without limit.

    ``hermes_backup_max_age`` takes it so, too.
    """
    if schedule is None:
        return Pace(_DAY, limited=False)
    return Pace(max(shortest_pause(schedule), timedelta(seconds=1)), limited=True)


def shortest_pause(schedule: Schedule) -> timedelta:
    """Return the shortest time between two runs, as far as the schedule shows it; a second at least for a calendar."""
    if schedule.every is not None:
        return schedule.every
    calendar = (schedule.on_calendar or "").strip().lower()
    if calendar in _WORDS:
        return _SHORT.get(calendar, min(_WORDS[calendar], 181 * _DAY))
    words = calendar.split()
    clock = next((it for it in words if ":" in it), "0:0")
    times = _minutes(clock)
    if times is None:
        return timedelta(seconds=1)
    if len(times) > 1:
        return timedelta(minutes=min(_gaps(times, _MINUTES)))
    if words and _WEEKDAYS.fullmatch(words[0]):
        return min(_gaps(_weekdays(words[0]), len(_WEEK))) * _DAY
    date = next((found for it in words if (found := _DATE.fullmatch(it))), None)
    return 28 * _DAY if date is not None and date[2].isdigit() else _DAY


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
        return max(_gaps(_weekdays(words[0]), len(_WEEK))) * _DAY if on_weekdays else _DAY
    month, days = date.groups()
    if not on_weekdays:
        return 31 * _DAY if month == _EVERY else 366 * _DAY
    week = _RANGE.fullmatch(days) if month == _EVERY else None
    whole = week is not None and int(week[2]) - int(week[1]) >= len(_WEEK) - 1
    return 35 * _DAY if whole else 427 * _DAY  # the first Sunday of each month; the longest wait for a Friday 13th


def _weekdays(text: str) -> set[int]:
    """Return the days of ``mon..fri`` or ``mon,thu``, Monday as 0."""
    days: set[int] = set()
    for part in text.split(","):
        ends = [_WEEK.index(name[:3]) for name in re.split(r"\.\.|-", part) if name]
        if ends:
            days |= {(ends[0] + step) % 7 for step in range((ends[-1] - ends[0]) % 7 + 1)}
    return days


def _minutes(clock: str) -> set[int] | None:
    """Return the minutes of a day that ``HH:MM:SS`` means; None where it is more than one second of a minute."""
    hours, minutes, *seconds = clock.split(":")
    if seconds and not seconds[0].isdigit():
        return None
    return {60 * hour + minute for hour in _values(hours, 24) for minute in _values(minutes, 60)}


def _values(text: str, limit: int) -> set[int]:
    """Return the numbers below a limit that ``*``, ``3,15``, ``9..17`` or ``0/15`` means; all for anything else."""
    found: set[int] = set()
    for part in text.split(","):
        match = _FIELD.fullmatch(part)
        if match is None:
            return set(range(limit))
        first = 0 if match[1] == _EVERY else int(match[1])
        open_end = match[1] == _EVERY or match[3] is not None
        last = int(match[2]) if match[2] else limit - 1 if open_end else first
        found |= set(range(first, last + 1, int(match[3] or 1) or 1))
    return found or {0}


def _gaps(numbers: set[int], around: int) -> list[int]:
    """Return the distances between neighbours on a circle; all around where there is one number."""
    ordered = sorted(numbers)
    pairs = zip(ordered, [*ordered[1:], *ordered[:1]], strict=True)
    return [(later - earlier - 1) % around + 1 for earlier, later in pairs]
