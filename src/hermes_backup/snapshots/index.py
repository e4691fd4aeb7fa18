"""The list of files that lies beside a snapshot: one JSON object a line, sorted by name, always compressed.

It is encrypted like the data, because names tell what the agent knows. A name that is not text is written with
Python's surrogate escapes, which JSON carries unchanged.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Iterator

from hermes_backup.errors import DATA_DAMAGED, Fault
from hermes_backup.streams.members import Member


def to_lines(members: Iterable[Member]) -> Iterator[bytes]:
    """Write members, a line each."""
    for member in members:
        row = {
            "name": os.fsdecode(member.name),
            "kind": member.kind,
            "size": member.size,
            "mode": f"{member.mode:04o}",
            "uid": member.uid,
            "gid": member.gid,
            "mtime": member.mtime,
        }
        if member.link is not None:
            row["link"] = os.fsdecode(member.link)
        if member.sha256 is not None:
            row["sha256"] = member.sha256
        yield json.dumps(row, separators=(",", ":")).encode() + b"\n"


def from_bytes(data: bytes) -> tuple[Member, ...]:
    """Read what :func:`to_lines` wrote.

    Raises:
        Fault: DATA_DAMAGED.
    """
    try:
        return tuple(_member(json.loads(line)) for line in data.splitlines())
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise Fault(DATA_DAMAGED, f"the index cannot be read: {error}") from None


def _member(row: dict[str, object]) -> Member:
    link = row.get("link")
    digest = row.get("sha256")
    return Member(
        name=os.fsencode(str(row["name"])),
        kind=row["kind"],  # type: ignore[arg-type]  # written by to_lines
        size=int(str(row["size"])),
        mode=int(str(row["mode"]), 8),
        uid=int(str(row["uid"])),
        gid=int(str(row["gid"])),
        mtime=float(str(row["mtime"])),
        link=None if link is None else os.fsencode(str(link)),
        sha256=None if digest is None else str(digest),
    )
