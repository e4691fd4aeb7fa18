"""How a file begins, which tells what it is whatever it is called."""

from __future__ import annotations

import os
import stat


def beginning(path: str | bytes | os.PathLike[str], most: int) -> bytes | None:
    """Return a regular file's first bytes; None where there is none that can be opened. No link is followed.

    Raises:
        OSError: it cannot be read.
    """
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError:
        return None
    try:
        return os.read(descriptor, most) if stat.S_ISREG(os.fstat(descriptor).st_mode) else None
    finally:
        os.close(descriptor)
