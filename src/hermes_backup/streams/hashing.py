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
    whole = hashlib.sha256()
    with os.fdopen(os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC), "rb", buffering=0) as file:
        while chunk := file.read(_CHUNK):
            whole.update(chunk)
    return whole.hexdigest()
