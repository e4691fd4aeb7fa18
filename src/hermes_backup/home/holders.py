"""Who has a database open, read off ``/proc``.

A process that still writes to a log which was deleted under it is a split brain: what it writes is in no file
that anyone else can see, and its view may be the only good copy (NousResearch/hermes-agent #109966).
"""

from __future__ import annotations

import contextlib
import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from hermes_backup.home.printable import printable

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

_DELETED = " (deleted)"
_DELETED_WAL = "-wal" + _DELETED
_Identity = tuple[int, int]  # device and inode


@dataclass(frozen=True)
class Holder:
    """A process that has a database or a file beside it open; ``file`` is what it holds, printable.

    ``command`` is the program without its arguments, which may be secrets. ``deleted_wal``: a split brain.
    """

    pid: int
    command: str
    file: str
    deleted_wal: bool = False


@dataclass(frozen=True)
class _Held:
    """One open file of a process: what the link in /proc says, and which file it is."""

    link: str
    identity: _Identity


def holders(*databases: Path) -> tuple[Holder, ...]:
    """Return the processes that have any of the databases or their sidecars open, ourselves excepted, by pid.

    Processes of other users stay unseen unless we are root.
    """
    wanted = {str(path.resolve()): _identity(path) for path in databases}
    found = []
    for pid in _processes():
        held = tuple(_open_files(pid))
        holder = _holder(pid, held, wanted)
        if holder is not None:
            found.append(holder)
    return tuple(sorted(found, key=lambda holder: holder.pid))


def split_brain(*databases: Path) -> tuple[Holder, ...]:
    """Return the processes that write to a deleted ``-wal`` of any of the databases."""
    return tuple(holder for holder in holders(*databases) if holder.deleted_wal)


def _holder(pid: int, held: tuple[_Held, ...], wanted: Mapping[str, _Identity | None]) -> Holder | None:
    mine = [one for one in held if _concerns(one, wanted)]
    deleted = [one for one in held if one.link.endswith(_DELETED_WAL) and _is_log_of(one, held, wanted)]
    if deleted:
        return Holder(pid, _command(pid), printable(deleted[0].link), deleted_wal=True)
    return Holder(pid, _command(pid), printable(mine[0].link)) if mine else None


def _concerns(one: _Held, wanted: Mapping[str, _Identity | None]) -> bool:
    if one.identity in wanted.values():
        return True
    plain = one.link.removesuffix(_DELETED)
    return any(plain.removesuffix(side) in wanted for side in ("", "-wal", "-shm", "-journal"))


def _is_log_of(one: _Held, held: tuple[_Held, ...], wanted: Mapping[str, _Identity | None]) -> bool:
    """Tell a deleted log's database by path, or in a container with other paths by what is held with it."""
    path = one.link.removesuffix(_DELETED_WAL)
    if path in wanted:
        return True
    name = path.rpartition("/")[2]
    same_name = {identity for other, identity in wanted.items() if other.rpartition("/")[2] == name}
    return any(other.identity in same_name for other in held)


def _identity(path: str | Path) -> _Identity | None:
    try:
        status = Path(path).stat()
    except OSError:
        return None
    return (status.st_dev, status.st_ino)


def _processes() -> Iterator[int]:
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit() and int(entry.name) != os.getpid():
            yield int(entry.name)


def _open_files(pid: int) -> Iterator[_Held]:
    """Yield what a process has open under a path, as far as we may look."""
    with contextlib.suppress(OSError):
        for link in Path(f"/proc/{pid}/fd").iterdir():
            with contextlib.suppress(OSError):
                target = str(link.readlink())
                if target.startswith("/"):
                    status = link.stat()  # of the open file, even when it is deleted
                    yield _Held(target, (status.st_dev, status.st_ino))


def _command(pid: int) -> str:
    """Name the program, and for an interpreter its script or module, but no further argument."""
    try:
        words = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")[:3]
    except OSError:
        return "?"
    program, *rest = [word.rpartition(b"/")[2] for word in words if word] or [b"?"]
    if rest and program.startswith(b"python"):
        rest = rest if rest[0] == b"-m" else [] if rest[0].startswith(b"-") else rest[:1]
        return printable(b" ".join([program, *rest]))
    return printable(program)
