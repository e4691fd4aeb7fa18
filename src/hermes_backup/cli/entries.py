"""Files of a snapshot as they are shown: their names and all else that an agent chose made harmless."""

from __future__ import annotations

import os
import stat
from collections.abc import Mapping, Sequence
from datetime import datetime, timezone
from typing import TYPE_CHECKING

from hermes_backup.errors import Fault
from hermes_backup.home.printable import printable

if TYPE_CHECKING:
    from hermes_backup.snapshots.names import SnapshotName
    from hermes_backup.streams.members import Member

SHORT = 12
"""How many digits of a hash are shown."""
_TYPES = {"file": stat.S_IFREG, "hardlink": stat.S_IFREG, "dir": stat.S_IFDIR, "link": stat.S_IFLNK}
_MOST_FAULTS = 5


def show_mode(member: Member) -> str:
    """Write kind and mode as ls does: ``-rw-r--r--``."""
    return stat.filemode(_TYPES.get(member.kind, 0) | (member.mode & 0o7777))


def show_hash(member: Member) -> str:
    """Write the beginning of the content's hash."""
    return (member.sha256 or "-")[:SHORT]


def show_name(member: Member) -> str:
    """Write the path, and where a link leads, on one line."""
    name = printable(member.name)
    return name if member.link is None else f"{name} -> {printable(member.link)}"


def show_time(seconds: float) -> str:
    """Write a file's time in UTC, to the minute; ``?`` for one that no calendar has."""
    made = _moment(seconds)
    return f"{made:%Y-%m-%d %H:%M}" if made else "?"


def show_when(name: SnapshotName) -> str:
    """Write when a snapshot was begun, in UTC, to the minute."""
    return f"{name.time:%Y-%m-%d %H:%M}"


def entry(member: Member) -> Mapping[str, object]:
    """Return an entry as it stands in JSON; a byte of a name that is no text is a lone surrogate, as in the index."""
    made = _moment(member.mtime)
    return {
        "name": os.fsdecode(member.name),
        "kind": member.kind,
        "mode": f"{member.mode:04o}",
        "uid": member.uid,
        "gid": member.gid,
        "size": member.size,
        "mtime": made.isoformat() if made else None,
        "link": None if member.link is None else os.fsdecode(member.link),
        "sha256": member.sha256,
    }


def tell_faults(faults: Sequence[Fault]) -> None:
    """Say why snapshots or places could not be looked into; of many the first, and how many more there are."""
    from hermes_backup.cli.screen import console, tell

    for fault in faults[:_MOST_FAULTS]:
        tell(fault)
    if len(faults) > _MOST_FAULTS:
        console(stderr=True).print(f"and {len(faults) - _MOST_FAULTS} more", style="red")


def _moment(seconds: float) -> datetime | None:
    try:
        return datetime.fromtimestamp(seconds, timezone.utc).replace(microsecond=0)
    except (OverflowError, ValueError, OSError):
        return None
