"""Reading what others wrote: small, regular, and never a reason to fail."""

from __future__ import annotations

import itertools
import json
import os
import stat
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator

MISREAD = (OSError, ValueError, RuntimeError)
"""What a hostile path or file can raise: refused, not text or with a null byte in it, nested or linked too deep."""

_MOST_BYTES = 4 << 20
_MOST_ENTRIES = 4096


def text_of(path: Path) -> str:
    """Return the text of a regular file of at most 4 MiB; empty when there is none to be had."""
    try:
        found = os.open(path, os.O_PATH | os.O_CLOEXEC)
        try:
            if not stat.S_ISREG(os.fstat(found).st_mode):  # to open a device can have effects
                return ""
            with open(f"/proc/self/fd/{found}", "rb") as file:  # noqa: PTH123 - this very file, whatever lies there now
                data = file.read(_MOST_BYTES + 1)
        finally:
            os.close(found)
    except MISREAD:
        return ""
    return data.decode("utf-8", "surrogateescape") if len(data) <= _MOST_BYTES else ""


def json_of(path: Path) -> Any:
    """Return the value of a JSON file; None when there is none to be had."""
    try:
        return json.loads(text_of(path))
    except MISREAD:
        return None


def entries(folder: Path, pattern: str) -> Iterator[Path]:
    """Yield what a folder holds under names of a pattern, sorted, at most some thousands."""
    try:
        found = sorted(itertools.islice(folder.glob(pattern), _MOST_ENTRIES))
    except MISREAD:
        return
    yield from found


def at(value: Any, *keys: str) -> Any:
    """Return what lies in nested objects under these keys; None when one of them does not."""
    for key in keys:
        value = value.get(key) if isinstance(value, dict) else None
    return value


def text_at(value: Any, *keys: str) -> str:
    """Return a text in nested objects; empty when there is none."""
    found = at(value, *keys)
    return found if isinstance(found, str) else ""


def texts_at(value: Any, *keys: str) -> list[str]:
    """Return the texts of a list in nested objects."""
    found = at(value, *keys)
    return [it for it in found if isinstance(it, str)] if isinstance(found, list) else []
