"""New entries put in the place of old ones, each in one step, and a note of it that outlives a killed process."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote_from_bytes, unquote_to_bytes

from pydantic import BaseModel, ConfigDict, ValidationError

from hermes_backup.errors import Fault
from hermes_backup.home.databases.facts import beside
from hermes_backup.home.layout import SIDECARS
from hermes_backup.home.printable import printable
from hermes_backup.home.services import Unit
from hermes_backup.home.swapping import Mark, anchored, carry, exchange, mark, move
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

    def undo(self, *, keep: bool = False) -> None:
        """Put the old entry back; what was new goes where it came from, with what was written beside it since.

        ``keep``: it lies at ``aside`` then.

        Raises:
            OSError: both are there still, under two of these names.
        """
        _carry_logs(self.target, self.new)
        try:
            exchanged = os.path.lexists(self.aside) and exchange(self.aside, self.target)
            if not exchanged:
                self._out()
        except OSError:
            _carry_logs(self.new, self.target)
            raise
        _carry_logs(self.aside, self.target)
        if exchanged and not keep:
            move(self.aside, self.new)
        elif keep and not exchanged:
            move(self.new, self.aside)

    def _out(self) -> None:
        move(self.target, self.new)
        if os.path.lexists(self.aside):
            try:
                move(self.aside, self.target)
            except OSError:
                move(self.new, self.target)
                raise

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
    for it in _logs(old):
        move(it, beside(new, it.name.removeprefix(old.name)))


def _logs(path: Path) -> list[Path]:
    """Return what SQLite left beside an entry."""
    return [it for side in map(os.fsdecode, SIDECARS) if os.path.lexists(it := beside(path, side))]


class _Swapped(BaseModel):
    model_config = ConfigDict(frozen=True)

    target: str
    aside: str
    new: Mark
    old: Mark | None


class _Service(BaseModel):
    model_config = ConfigDict(frozen=True)

    name: str
    uid: int | None


class Note(BaseModel):
    """What is under way: which entries change places, told by marks of old and new ones, and who is stopped.

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
            target, aside = str(it.shown), str(it.shown_aside)
            noted.append(_Swapped(target=target, aside=aside, new=mark(it.new), old=_lies_at(it.target)))
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
    names = [os.fsdecode(unquote_to_bytes(it)) for it in note.carried]
    told: list[str] = []
    renewed = True
    for it in note.swaps:
        with _entries(it) as (target, aside):
            told += _settle(it, target, aside, names)
            renewed = _is(target, it.new) and renewed
    if renewed and names:
        told += _carried(names, Path(note.swaps[0].aside), Path(note.swaps[0].target))
    told += [_started(Unit(it.name, it.uid)) for it in note.services if note.start or not renewed]
    file.unlink()
    return tuple(filter(None, told))


@contextmanager
def _entries(one: _Swapped) -> Iterator[tuple[Path, Path]]:
    """Hold the folder in which a noted entry lies: what lies above may have changed since."""
    target, aside = Path(one.target), Path(one.aside)
    with anchored(target.parent) as parent:
        yield parent / target.name, parent / aside.name


def _started(unit: Unit) -> str:
    """Start a service again; one that cannot be started keeps nobody from restoring."""
    try:
        if unit.is_active():
            return ""
        unit.start()
    except Fault as fault:
        return f"{unit}, which a restore that was killed had stopped, cannot be started: {fault.what}"
    return f"started {unit}, which a restore that was killed had stopped"


def _carried(names: Sequence[str], old: Path, new: Path) -> Iterator[str]:
    """Carry over what a killed process did not; what has a successor already stays where it is, and is named."""
    moved = 0
    for name in names:
        try:
            moved += carry(name, old, new)
        except (Fault, OSError) as error:
            why = error.what if isinstance(error, Fault) else error.strerror
            yield f"{printable(f'{old}/{name}')}, which no backup holds, could not be carried over: {why}"
    if moved:
        yield f"carried over what no backup holds ({moved}), which a killed restore had left in {old}"


def _settle(one: _Swapped, target: Path, aside: Path, names: Sequence[str]) -> Iterator[str]:
    if _is(target, one.new):
        yield f"{one.target} is the new one already, put there by a restore that was killed"
    elif _is(target, one.old) and _is(aside, one.new):
        yield from _carried(names, Path(one.aside), Path(one.target))  # where it was killed on its way back
        yield _removed(one, aside, names)
        yield _logs_back(one, target, aside)
    elif _is(aside, one.old) and not os.path.lexists(target):
        move(aside, target)
        yield f"put the old {one.target} back, which a restore that was killed had moved"
        yield _logs_back(one, target, aside)
    elif _is(target, one.old) or not os.path.lexists(aside):
        yield _logs_back(one, target, aside)
    else:
        why = "neither what a restore that was killed found there nor what it was to put there; nothing was changed"
        yield f"{one.target} is {why}; look at it and at {one.aside}"


def _removed(one: _Swapped, aside: Path, names: Sequence[str]) -> str:
    if any(os.path.lexists(aside / it) for it in names):
        return f"{one.aside} is what a restore that was killed was to put in place; it is kept for what is in it"
    remove(aside)
    return f"removed {one.aside}, which a restore that was killed had not yet put in place"


def _logs_back(one: _Swapped, target: Path, aside: Path) -> str:
    """Put back what lay beside the old entry; beside any other, or one written to since, it would corrupt that."""
    if not _logs(aside):
        return ""
    if _lies_at(target) == one.old:
        with suppress(FileExistsError):  # where something lies there again, that is newer
            _carry_logs(aside, target)
            return f"put back what lay beside the old {one.target}, which a restore that was killed had moved"
    left = ", ".join(str(Path(one.aside).with_name(it.name)) for it in _logs(aside))
    return (
        f"{one.target} is not as a restore that was killed found it; what lay beside it then stays where it is: {left}"
    )


def _is(path: Path, noted: Mark | None) -> bool:
    there = _lies_at(path)
    return there is not None and noted is not None and there.is_same(noted)


def _lies_at(path: Path) -> Mark | None:
    with suppress(OSError):
        return mark(path)
    return None
