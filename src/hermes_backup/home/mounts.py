"""Is a folder the root of a mount? Told by the kernel's own list, since a bind mount shows the same device."""

from __future__ import annotations

import re
from pathlib import Path

_ESCAPED = re.compile(rb"\\([0-7]{3})")


def is_mount_point(folder: Path) -> bool:
    """Say whether something is mounted at a folder (proc(5), mountinfo: the fifth field, its spaces as octal)."""
    wanted = bytes(folder.resolve())
    lines = Path("/proc/self/mountinfo").read_bytes().splitlines()
    return any(_ESCAPED.sub(lambda it: bytes([int(it[1], 8)]), line.split(b" ")[4]) == wanted for line in lines)
