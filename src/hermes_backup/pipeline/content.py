"""Single files out of a snapshot: only they are unpacked, and only for as long as they are looked at."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

from hermes_backup.errors import PATH_NO_FILE, Fault
from hermes_backup.home.printable import printable
from hermes_backup.pipeline.executor import Follower
from hermes_backup.pipeline.unpacking import Source, unpacked
from hermes_backup.stages.selecting import select
from hermes_backup.streams.members import Member

_WHAT = {"dir": "a folder", "link": "a link"}


def require_file(members: Sequence[Member], path: str) -> Member:
    """Find a file in a list; what is like it is named where it is not there.

    Raises:
        Fault: PATH_MISSING, PATH_NO_FILE.
    """
    name = os.fsencode(path)
    found = next((it for it in members if it.name == name), None)
    if found is None:
        select(members, [path])
    if found is None or found.kind != "file":
        what = _WHAT.get(found.kind, "no file") if found else "a folder"
        raise Fault(PATH_NO_FILE, f"{printable(name)} is {what}")
    return found


@contextmanager
def brought(source: Source, names: Sequence[bytes], follower: Follower) -> Iterator[Mapping[bytes, Path]]:
    """Bring files of a snapshot into a private folder, checked; it goes at the end. No names, no work.

    Raises:
        Fault: why the snapshot cannot be trusted, decrypted or believed; INTERRUPTED.
    """
    if not names:
        yield {}
        return
    with unpacked(source, follower, only=[os.fsdecode(it) for it in names], leave_indexes=True) as (report, _):
        yield {it: report.tree.root / os.fsdecode(it) for it in names}
