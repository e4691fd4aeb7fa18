"""How a file begins, which tells what it is whatever it is called."""

from __future__ import annotations

import os
import stat
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from hermes_backup.streams.directory import Directory


def beginning(path: str | bytes | os.PathLike[str], most: int) -> bytes | None:
    """Return a regular file's first bytes; None where there is none that can be opened. It is no link itself.

    Raises:
        OSError: it cannot be read.
    """
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError:
        return None
    return _start(descriptor, most)


def beginning_below(folder: Directory, name: bytes, most: int) -> bytes | None:
    """Return the first bytes of a regular file below a held folder, as :func:`beginning` does; through no link.

    Raises:
        OSError: it cannot be read.
    """
    try:
        descriptor = folder.open(name)
    except OSError:
        return None
    return _start(descriptor, most)


def _start(descriptor: int, most: int) -> bytes | None:
    try:
        return os.read(descriptor, most) if stat.S_ISREG(os.fstat(descriptor).st_mode) else None
    finally:
        os.close(descriptor)
