"""Bytes, times and foreign text as people read them."""

from __future__ import annotations

from datetime import timedelta

from hermes_backup.home.printable import printable

_MINUTE = 60
_HOUR = 3600
_DAY = 24 * _HOUR
_LONG_AGO = 2 * _DAY
_STEP = 1000
_SMALL = 10


def show_size(count: float) -> str:
    """Write bytes in decimal units, as disks and providers count: ``742 B``, ``1.2 MB``, ``45 GB``."""
    units = ("B", "kB", "MB", "GB", "TB", "PB")
    for unit in units:
        if abs(count) < _STEP or unit == units[-1]:
            break
        count /= _STEP
    digits = 0 if unit == "B" or abs(count) >= _SMALL else 1
    return f"{count:.{digits}f} {unit}"


def show_seconds(seconds: float) -> str:
    """Write a span of time: ``0.8 s``, ``42 s``, ``3:07``, ``2:03:07``."""
    if seconds < _SMALL:
        return f"{max(seconds, 0):.1f} s"
    whole = round(seconds)
    if whole < _MINUTE:
        return f"{whole} s"
    minutes, rest = divmod(whole, _MINUTE)
    if whole < _HOUR:
        return f"{minutes}:{rest:02d}"
    hours, minutes = divmod(minutes, _MINUTE)
    return f"{hours}:{minutes:02d}:{rest:02d}"


def harmless(text: str) -> str:
    """Return text of another machine that cannot move the cursor or colour the terminal; its lines stay."""
    return "\n".join(printable(line) for line in text.splitlines())


def show_age(age: timedelta) -> str:
    """Write how long ago something was: ``40 s``, ``12 min``, ``7 h``, ``3 d``; or that it is yet to come."""
    seconds = age.total_seconds()
    if seconds < 0:
        return "in future"
    for unit, length, bound in (("s", 1, 2 * _MINUTE), ("min", _MINUTE, 2 * _HOUR), ("h", _HOUR, _LONG_AGO)):
        if seconds < bound:
            return f"{seconds // length:.0f} {unit}"
    return f"{seconds // _DAY:.0f} d"
