"""New entries put in the place of old ones, each in one step, and a note of it that outlives a killed process."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote_from_bytes, unquote_to_bytes

from pydantic import BaseModel, ConfigDict, ValidationError

from hermes_backup.errors import Fault
from hermes_backup.home.facts import beside
from hermes_backup.home.layout import SIDECARS
from hermes_backup.home.printable import printable
from hermes_backup.home.processes import Identity
from hermes_backup.home.services import Unit
from hermes_backup.home.swapping import carry, exchange, move
from hermes_backup.streams.folders import remove
from hermes_backup.streams.private import write_private


@dataclass(frozen=True)
class Swap:
    """``new`` takes the place of what lies at ``target``, if anything does, and that lies at ``aside`` then.

    ``shown`` and ``shown_aside`` are the two as people know them: the others may be anchored.
    """

    new: Path
    target: Path
    aside: Path
    shown: Path
    shown_aside: Path

    def apply(self) -> None:
        """Do it; at no time is there nothing at the target where there was something before.

        Only on a file system that cannot exchange, a kill may find nothing there: :func:`settle` puts the old one back.
        What SQLite left beside a database goes aside before: beside another database it would corrupt that.

        Raises:
            OSError: nothing was changed then.
        """
        _carry_logs(self.target, self.aside)
        try:
            self._exchange()
        except OSError:
            _carry_logs(self.aside, self.target)
            raise

    def undo(self) -> None:
        """Put the old entry back; what was new goes where it came from, with what was written beside it since.

        Raises:
            OSError: both are there still, under these two names.
        """
        _carry_logs(self.target, self.new)
        if not os.path.lexists(self.aside):
            move(self.target, self.new)
        elif exchange(self.aside, self.target):
            move(self.aside, self.new)
        else:
            move(self.target, self.new)
            move(self.aside, self.target)
        _carry_logs(self.aside, self.target)

    def _exchange(self) -> None:
        if not os.path.lexists(self.target):
            move(self.new, self.target)
            return
        move(self.new, self.aside)
        try:
            done = exchange(self.aside, self.target)
        except OSError:
            move(self.aside, self.new)
            raise
        if not done:
            move(self.aside, self.new)
            self._in_two_steps()

    def _in_two_steps(self) -> None:
        move(self.target, self.aside)
        try:
            move(self.new, self.target)
        except OSError:
            move(self.aside, self.target)
            raise


def _carry_logs(old: Path, new: Path) -> None:
    for side in map(os.fsdecode, SIDECARS):
        if os.path.lexists(beside(old, side)):
            move(beside(old, side), beside(new, side))


class _Swapped(BaseModel):
    model_config = ConfigDict(frozen=True)

    target: str
    aside: str
    device: int
    inode: int


class _Service(BaseModel):
    model_config = ConfigDict(frozen=True)

    name: str
    uid: int | None


class Note(BaseModel):
    """What is under way: which entries change places, told by device and inode of the new ones, and who is stopped.

    ``start``: the services are to run again on the new entries; on the old ones they always are. ``carried`` are the
    names of what moves from the old home into the new one, as in a URI, because a name need not be text.
    """

    model_config = ConfigDict(frozen=True)

    swaps: tuple[_Swapped, ...]
    services: tuple[_Service, ...]
    start: bool
    carried: tuple[str, ...] = ()

    @classmethod
    def of(cls, swaps: Sequence[Swap], units: Sequence[Unit], carried: Sequence[str], *, start: bool) -> Note:
        """Note what is going to be done."""
        noted = []
        for it in swaps:
            status = it.new.lstat()
            where = {"target": str(it.shown), "aside": str(it.shown_aside)}
            noted.append(_Swapped(**where, device=status.st_dev, inode=status.st_ino))
        services = tuple(_Service(name=it.name, uid=it.uid) for it in units)
        names = tuple(quote_from_bytes(os.fsencode(it)) for it in carried)
        return cls(swaps=tuple(noted), services=services, start=start, carried=names)

    def write(self, file: Path) -> None:
        """Keep it where :func:`settle` looks."""
        write_private(file, self.model_dump_json().encode(), durable=True)


def settle(file: Path) -> tuple[str, ...]:
    """End what a killed process left half done: the new entry is in its place, or the old one; its services run.

    Return what was done, in sentences.

    Raises:
        OSError: the note is still there then, for the next time.
    """
    try:
        note = Note.model_validate_json(file.read_bytes())
    except FileNotFoundError:
        return ()
    except ValidationError:
        return (f"the note {file} of a restore that was killed cannot be read; look at it, and remove it",)
    told = tuple(filter(None, (_settle(it) for it in note.swaps)))
    renewed = all(_lies_at(Path(it.target)) == (it.device, it.inode) for it in note.swaps)
    if renewed and note.carried:
        told += tuple(_carried(note.swaps[0], [os.fsdecode(unquote_to_bytes(it)) for it in note.carried]))
    told += tuple(_started(Unit(it.name, it.uid)) for it in note.services if note.start or not renewed)
    file.unlink()
    return tuple(filter(None, told))


def _started(unit: Unit) -> str:
    """Start a service again; one that cannot be started keeps nobody from restoring."""
    try:
        if unit.is_active():
            return ""
        unit.start()
    except Fault as fault:
        return f"{unit}, which a restore that was killed had stopped, cannot be started: {fault.what}"
    return f"started {unit}, which a restore that was killed had stopped"


def _carried(one: _Swapped, names: Sequence[str]) -> Iterator[str]:
    """Carry over what a killed process did not; what has a successor already stays where it is, and is named."""
    moved = 0
    for name in (it for it in names if os.path.lexists(Path(one.aside) / it)):
        try:
            carry(name, Path(one.aside), Path(one.target))
            moved += 1
        except (Fault, OSError) as error:
            why = error.what if isinstance(error, Fault) else error.strerror
            yield f"{printable(f'{one.aside}/{name}')}, which no backup holds, could not be carried over: {why}"
    if moved:
        yield f"carried over what no backup holds ({moved}), which a killed restore had left in {one.aside}"


def _settle(one: _Swapped) -> str:
    new, target, aside = (one.device, one.inode), Path(one.target), Path(one.aside)
    if _lies_at(target) == new:
        return f"{target} is the new one already, put there by a restore that was killed"
    if _lies_at(aside) == new:
        remove(aside)
        _carry_back(aside, target)
        return f"removed {aside}, which a restore that was killed had not yet put in place"
    if _lies_at(target) is None and _lies_at(aside) is not None:
        move(aside, target)
        _carry_back(aside, target)
        return f"put the old {target} back, which a restore that was killed had moved"
    _carry_back(aside, target)
    return ""


def _carry_back(aside: Path, target: Path) -> None:
    """Put back what lay beside the old entry; where something lies there again, that is newer."""
    with suppress(FileExistsError):
        _carry_logs(aside, target)


def _lies_at(path: Path) -> Identity | None:
    with suppress(OSError):
        status = path.lstat()
        return (status.st_dev, status.st_ino)
    return None
