"""The processes of this machine and what they have open, read off ``/proc`` (proc(5))."""

from __future__ import annotations

import contextlib
import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from hermes_backup.home.printable import printable

if TYPE_CHECKING:
    from collections.abc import Iterator

Identity = tuple[int, int]
"""Device and inode."""


@dataclass(frozen=True)
class OpenFile:
    """One open file of a process: what the link in /proc says, and which file it is."""

    link: str
    identity: Identity


def identity(path: str | Path) -> Identity | None:
    """Return which file lies at a path, links followed; None where none can be seen."""
    try:
        status = Path(path).stat()
    except OSError:
        return None
    return (status.st_dev, status.st_ino)


def processes() -> Iterator[int]:
    """Yield the numbers of all processes but our own."""
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit() and int(entry.name) != os.getpid():
            yield int(entry.name)


def open_files(pid: int) -> Iterator[OpenFile]:
    """Yield what a process has open under a path, as far as we may look."""
    with contextlib.suppress(OSError):
        for link in Path(f"/proc/{pid}/fd").iterdir():
            with contextlib.suppress(OSError):
                target = str(link.readlink())
                if target.startswith("/"):
                    status = link.stat()  # of the open file, even when it is deleted
                    yield OpenFile(target, (status.st_dev, status.st_ino))


def command(pid: int) -> str:
    """Name the program, and for an interpreter its script or module, but no further argument: it may be a secret."""
    try:
        words = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")[:3]
    except OSError:
        return "?"
    program, *rest = [word.rpartition(b"/")[2] for word in words if word] or [b"?"]
    if rest and program.startswith(b"python"):
        rest = rest if rest[0] == b"-m" else [] if rest[0].startswith(b"-") else rest[:1]
        return printable(b" ".join([program, *rest]))
    return printable(program)
