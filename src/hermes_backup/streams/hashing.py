"""The hash of a file's content."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

_CHUNK = 1 << 20


def sha256_of(path: Path | bytes) -> str:
    """Return the SHA-256 of a file, in hexadecimal; no link is followed at its place.

    Raises:
        OSError: it cannot be read, or is a link.
    """
    return sha256_from(os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC))


def sha256_from(descriptor: int) -> str:
    """Return the SHA-256 of an open file, in hexadecimal, and close it.

    Raises:
        OSError: it cannot be read.
    """
    whole = hashlib.sha256()
    with os.fdopen(descriptor, "rb", buffering=0) as file:
        while chunk := file.read(_CHUNK):
            whole.update(chunk)
    return whole.hexdigest()
