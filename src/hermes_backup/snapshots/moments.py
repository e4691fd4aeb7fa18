"""A point in time as people write it when they want a snapshot of then."""

from __future__ import annotations

import re
from datetime import datetime, timedelta, timezone

_DAY = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}", re.ASCII)
_TIME = re.compile(
    r"[0-9]{4}-[0-9]{2}-[0-9]{2}[T ][0-9]{2}:[0-9]{2}(?::[0-9]{2})?(?:Z|[+-][0-9]{2}:?[0-9]{2})?", re.ASCII
)
_AGO = re.compile(r"([0-9]{1,5}) ?(minute|hour|day|week)s? ago", re.ASCII)


def moment(text: str, now: datetime) -> datetime | None:
    """Return the last second that a text means, in UTC; None for a text that means no time.

    ``2026-05-05`` is the end of that day, ``2026-05-05 12:00`` that second of UTC unless it names an offset;
    also ``3 days ago``, ``yesterday`` (the end of it) and ``now``.
    """
    plain = text.strip()
    wanted = plain.lower()
    if wanted == "now":
        return now
    if wanted == "yesterday":
        return _end_of_day(now - timedelta(days=1))
    try:
        if match := _AGO.fullmatch(wanted):
            return now - timedelta(**{f"{match[2]}s": int(match[1])})
        return _end_of_day(_read(plain)) if _DAY.fullmatch(plain) else _read(plain) if _TIME.fullmatch(plain) else None
    except (ValueError, OverflowError):
        return None


def _read(text: str) -> datetime:
    read = datetime.fromisoformat(_with_offset(text))
    return read.replace(tzinfo=timezone.utc) if read.tzinfo is None else read.astimezone(timezone.utc)


def _with_offset(text: str) -> str:
    """Write an offset as Python 3.10 reads it."""
    text = re.sub(r"Z$", "+00:00", text)
    return re.sub(r"([+-][0-9]{2})([0-9]{2})$", r"\1:\2", text)


def _end_of_day(day: datetime) -> datetime:
    return day.replace(hour=23, minute=59, second=59, microsecond=0)
