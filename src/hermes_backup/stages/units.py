"""Durations, sizes and paths as people write them in YAML: ``15m``, ``26h``, ``30d``; ``512K``, ``10M``, ``2G``."""

from __future__ import annotations

import re
from datetime import timedelta
from pathlib import PurePosixPath
from typing import Annotated, Any

from pydantic import AfterValidator, BeforeValidator, PlainSerializer

_SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86400, "w": 604800}
_DURATION = re.compile(r"(\d+)\s*([smhdw])")
_POWERS = {"K": 10, "M": 20, "G": 30}
_SIZE = re.compile(r"([0-9]{1,6})([KMG])", re.ASCII)


def parse_duration(text: str) -> timedelta:
    """Read ``90s``, ``15m``, ``26h``, ``30d``, ``2w`` or a sum such as ``1d12h``.

    Raises:
        ValueError: when the text is no duration.
    """
    bare = text.strip().lower()
    parts = _DURATION.findall(bare)
    if not parts or _DURATION.sub("", bare).strip():
        raise ValueError(f"{text!r} is no duration; write for example 15m, 26h or 30d")
    return timedelta(seconds=sum(int(number) * _SECONDS[unit] for number, unit in parts))


def show_duration(value: timedelta) -> str:
    """Write a duration as :func:`parse_duration` reads it."""
    left = int(value.total_seconds())
    said = ""
    for unit in ("w", "d", "h", "m", "s"):
        count, left = divmod(left, _SECONDS[unit])
        said += f"{count}{unit}" if count else ""
    return said or "0s"


def _duration(value: Any) -> Any:
    if isinstance(value, timedelta):
        return value
    return parse_duration(str(value))  # a bare number has no unit, so it is refused with the words that mend it


def parse_size(text: str) -> int:
    """Read ``512M`` or ``2G`` as bytes, by powers of 1,024.

    Raises:
        ValueError: when the text is no size.
    """
    match = _SIZE.fullmatch(text.strip())
    if match is None:
        raise ValueError(f"{text!r} is no size; write for example 512M or 2G")
    return int(match[1]) << _POWERS[match[2]]


def _shown(value: int) -> str:
    unit, power = next(((it, by) for it, by in reversed(_POWERS.items()) if value % (1 << by) == 0), ("K", 10))
    return f"{value >> power}{unit}"


def _bandwidth(value: Any) -> Any:
    if isinstance(value, str) and not re.fullmatch(r"\d+(\.\d+)?[BKMG]?", value):
        raise ValueError(f"{value!r} is no rate; write bytes a second such as 512K or 10M")
    return value


def _inside(value: str) -> str:
    if not value or PurePosixPath(value).is_absolute() or ".." in PurePosixPath(value).parts:
        raise ValueError(f"{value!r} is not a path inside the home; write for example memories/MEMORY.md")
    return value


Duration = Annotated[timedelta, BeforeValidator(_duration), PlainSerializer(show_duration, return_type=str)]
Size = Annotated[int, BeforeValidator(lambda given: parse_size(str(given))), PlainSerializer(_shown, return_type=str)]
"""Bytes."""
Bandwidth = Annotated[str, BeforeValidator(_bandwidth)]
RelativePath = Annotated[str, AfterValidator(_inside)]
"""A path of a file or folder in the home, relative to it."""
