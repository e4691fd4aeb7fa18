"""Who has a database open, read off ``/proc``.

A process that still writes to a log which was deleted under it is a split brain: what it writes is in no file
that anyone else can see, and its view may be the only good copy (NousResearch/hermes-agent #109966).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from hermes_backup.home.printable import printable
from hermes_backup.home.processes import Identity, OpenFile, command, identity, open_files, processes

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

_DELETED = " (deleted)"
_DELETED_WAL = "-wal" + _DELETED


@dataclass(frozen=True)
class Holder:
    """A process that has a database or a file beside it open; ``file`` is what it holds, printable.

    ``command`` is the program without its arguments, which may be secrets. ``deleted_wal``: a split brain.
    """

    pid: int
    command: str
    file: str
    deleted_wal: bool = False


def holders(*databases: Path) -> tuple[Holder, ...]:
    """Return the processes that have any of the databases or their sidecars open, ourselves excepted, by pid.

    Their paths go through no link: links are not followed, since who made one may change it meanwhile.
    Processes of other users stay unseen unless we are root.
    """
    wanted = {str(path.absolute()): identity(path) for path in databases}
    found = []
    for pid in processes():
        held = tuple(open_files(pid))
        holder = _holder(pid, held, wanted)
        if holder is not None:
            found.append(holder)
    return tuple(sorted(found, key=lambda holder: holder.pid))


def split_brain(*databases: Path) -> tuple[Holder, ...]:
    """Return the processes that write to a deleted ``-wal`` of any of the databases."""
    return tuple(holder for holder in holders(*databases) if holder.deleted_wal)


def _holder(pid: int, held: tuple[OpenFile, ...], wanted: Mapping[str, Identity | None]) -> Holder | None:
    mine = [one for one in held if _concerns(one, wanted)]
    deleted = [one for one in held if one.link.endswith(_DELETED_WAL) and _is_log_of(one, held, wanted)]
    if deleted:
        return Holder(pid, command(pid), printable(deleted[0].link), deleted_wal=True)
    return Holder(pid, command(pid), printable(mine[0].link)) if mine else None


def _concerns(one: OpenFile, wanted: Mapping[str, Identity | None]) -> bool:
    if one.identity in wanted.values():
        return True
    plain = one.link.removesuffix(_DELETED)
    return any(plain.removesuffix(side) in wanted for side in ("", "-wal", "-shm", "-journal"))


def _is_log_of(one: OpenFile, held: tuple[OpenFile, ...], wanted: Mapping[str, Identity | None]) -> bool:
    """Tell a deleted log's database by path, or in a container with other paths by what is held with it."""
    path = one.link.removesuffix(_DELETED_WAL)
    if path in wanted:
        return True
    name = path.rpartition("/")[2]
    same_name = {one for other, one in wanted.items() if other.rpartition("/")[2] == name}
    return any(other.identity in same_name for other in held)
