"""Which snapshots a drill brings back: always the newest, and in turns every other, so that each is due once a year."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Sequence
from datetime import timedelta

from hermes_backup.pipeline.model import Schedule
from hermes_backup.snapshots.names import SnapshotName

_YEAR = timedelta(days=365)
_MONTHS, _DAYS = 12, 28  # a month has at least so many days
_WORDS = {
    "minutely": 365, "hourly": 365, "daily": 365, "weekly": 52, "monthly": 12, "quarterly": 4,
    "semiannually": 2, "semi-annually": 2, "yearly": 1, "annually": 1,
}  # fmt: skip
_WEEKDAYS = re.compile(r"(?:(?:mon|tue|wed|thu|fri|sat|sun)[a-z]*(?:\.\.|,|-)?)+")
_ITEM = re.compile(r"([0-9]{1,2})(?:\.\.([0-9]{1,2}))?(?:/([0-9]{1,2}))?|\*(?:/([0-9]{1,2}))?")


def sample(names: Sequence[SnapshotName], turn: int, drills_a_year: int) -> tuple[SnapshotName, ...]:
    """Return the newest snapshot, and those whose turn it is, newest first.

    Each name has one turn among ``drills_a_year``, by its own hash, whatever others come and go; whoever is kept over
    that many drills is brought back in one of them.
    """
    if not names:
        return ()
    newest = max(names)
    wanted = {it for it in names if _turn(it, drills_a_year) == turn % drills_a_year}
    return tuple(sorted({newest, *wanted}, reverse=True))


def drills_a_year(schedule: Schedule | None) -> int:
    """Return how many drills a year brings at least, at most one a day; one where the schedule cannot be read."""
    if schedule is None:
        return 1
    if schedule.every is not None:
        return max(1, min(_YEAR.days, _YEAR // max(schedule.every, timedelta(seconds=1))))
    calendar = (schedule.on_calendar or "").strip().lower()
    if calendar in _WORDS:
        return _WORDS[calendar]
    words = calendar.split()
    weekly = bool(words) and _WEEKDAYS.fullmatch(words[0]) is not None
    dates = [it for it in words if re.fullmatch(r"(?:[^-\s:]+-)?[^-\s:]+-[^-\s:]+", it)][:1]
    if weekly:  # a weekday on given dates may be rare
        return 52 if not dates or dates[0] in ("*-*-*", "*-*") else 1
    return _dates(dates[0]) if dates else 1 if "~" in calendar else _YEAR.days


def _dates(date: str) -> int:
    parts = date.split("-")
    if len(parts) == 3 and parts[0] != "*":  # noqa: PLR2004 - year, month, day
        return 1
    return max(1, _count(parts[-2], _MONTHS) * _count(parts[-1], _DAYS))


def _count(field: str, most: int) -> int:
    """Count the values of a field of a calendar, those up to ``most`` that every year has; 0 for what is not read."""
    found: set[int] = set()
    for item in field.split(","):
        read = _ITEM.fullmatch(item)
        if read is None:
            return 0
        first = int(read[1] or 1)
        last = int(read[2]) if read[2] else most if read[1] is None or read[3] else first
        found |= set(range(first, min(last, most) + 1, max(1, int(read[3] or read[4] or 1))))
    return len(found)


def _turn(name: SnapshotName, drills_a_year: int) -> int:
    return int.from_bytes(hashlib.sha256(str(name).encode()).digest()[:8], "big") % drills_a_year
