"""Old and new change places while nobody uses the home: forwards to the end, or back."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from hermes_backup.errors import SERVICE_FAILED, STAGE_FAILED, Fault, from_system
from hermes_backup.home.occupants import may_run, services_of, vacate
from hermes_backup.home.printable import printable
from hermes_backup.home.services import Unit
from hermes_backup.home.swapping import carry
from hermes_backup.pipeline.executor import Follower
from hermes_backup.pipeline.interruption import undisturbed
from hermes_backup.pipeline.swaps import Note, Swap

_STAYS_UP = 3.0  # seconds after which a service that was started again must still run


@dataclass(frozen=True)
class Exchange:
    """What is to change places in a home.

    ``left_out`` names what moves from the old home into the new one, asked when nobody uses it any more. ``quiet``: who
    uses the home must stop for it, and ``start`` again afterwards. ``note`` is the file that tells of it meanwhile.
    """

    home: Path
    swaps: Sequence[Swap]
    left_out: Callable[[], Sequence[str]]
    quiet: bool
    start: bool
    note: Path

    def execute(self, follower: Follower) -> tuple[tuple[Unit, ...], tuple[Unit, ...]]:
        """Do it; return the services that were stopped, and those that run again.

        Raises:
            Fault: HOME_HELD, SERVICE_FAILED, what the system refused; everything is back then, but what it names.
            OSError: likewise.
        """
        units = services_of(self.home) if self.quiet else ()
        undisturbed()  # from here on it goes to an end, forwards or back
        self._write_note(units, ())
        again = units if self.start else ()
        done: list[Swap] = []
        carried: list[str] = []
        try:
            if self.quiet:
                vacate(self.home, units)
            names = self.left_out()
            self._write_note(units, names)  # anew: who stops writes, and removes what it left
            for it in self.swaps:
                with _known(f"{it.shown} cannot be replaced"):
                    it.apply()
                done.append(it)
            for name in names:
                with _known(f"{name} cannot be carried over"):
                    if carry(name, self.swaps[0].aside, self.swaps[0].target):
                        carried.append(name)
            _start(again)
        except BaseException as error:
            running = self._running(units, follower) if done else ()
            stuck = () if running else self._undone(done, carried, follower)
            _each(again if running or stuck else units, Unit.start, follower)
            self.note.unlink(missing_ok=True)
            if running:
                raise self._stays(error, running) from None
            if stuck:
                raise _stuck(error, stuck) from None
            raise
        self.note.unlink()
        return units, again

    def _write_note(self, units: Sequence[Unit], names: Sequence[str]) -> None:
        Note.of(self.swaps, units, names, start=self.start).write(self.note)

    def _running(self, units: Sequence[Unit], follower: Follower) -> tuple[Unit, ...]:
        """Stop services on the way back; return those that cannot be stopped, and may be writing to the new entries."""
        failed = _each(units, Unit.stop, follower)
        return tuple(it for it in failed if may_run(it, self.home))

    def _undone(self, done: Sequence[Swap], carried: Sequence[str], follower: Follower) -> tuple[Swap, ...]:
        """Put the old entries back; return those where that failed. What holds more than the snapshot is kept."""
        old, new = self.swaps[0].aside, self.swaps[0].target
        whole = _moved(carried, new, old, follower)
        stuck = []
        for it in reversed(done):
            try:
                with _known(f"{it.shown} cannot be put back"):
                    it.undo(keep=not whole)
            except Fault as fault:
                follower.warn("restore", fault.what)
                stuck.append(it)
                _moved(carried, old, new, follower)  # it stays, and its services need their code
                continue
            if not whole:
                kept = printable(str(it.shown_aside))
                follower.warn("restore", f"what was restored is kept as {kept}, for what could not be carried back")
        return tuple(stuck)

    def _stays(self, error: BaseException, running: Sequence[Unit]) -> Fault:
        """Say that the new entries stay: what a service writes while they are taken from it would be lost."""
        who = ", ".join(map(str, running))
        old = ", ".join(printable(str(it.shown_aside)) for it in self.swaps)
        what = (
            f"{_why(error)}; {who} cannot be stopped, so what was restored stays in its place; what was before is {old}"
        )
        return Fault(SERVICE_FAILED, what, where="restore", mend="Stop it by hand; then you may move the old one back.")


def _moved(names: Sequence[str], old: Path, new: Path, follower: Follower) -> bool:
    """Move entries of one home into the other; say whether all that are there still were."""
    whole = True
    for name in names:
        try:
            with _known(f"{name} cannot be carried back"):
                carry(name, old, new)
        except Fault as fault:
            follower.warn("restore", fault.what)
            whole = False
    return whole


def _stuck(error: BaseException, stuck: Sequence[Swap]) -> Fault:
    """Say which old entries are not in their places."""
    kind = error.kind if isinstance(error, Fault) else STAGE_FAILED
    old = ", ".join(printable(f"{it.shown} (what was before is {it.shown_aside})") for it in stuck)
    mend = "Look at both, and move the old one back by hand."
    return Fault(kind, f"{_why(error)}; not put back: {old}", where="restore", mend=mend)


def _why(error: BaseException) -> str:
    return error.what if isinstance(error, Fault) else str(error)


@contextmanager
def _known(what: str) -> Iterator[None]:
    """Let what the system refuses name the entry as people know it: the paths here are anchored."""
    try:
        yield
    except OSError as error:
        raise from_system(error, "restore", f"{printable(what)}: {error.strerror}") from None


def _start(units: Sequence[Unit]) -> None:
    for unit in units:
        unit.start()
    before = [unit.pulse() for unit in units]
    if units:
        time.sleep(_STAYS_UP)
    for unit, pulse in zip(units, before, strict=True):
        if not unit.is_active() or unit.pulse() != pulse:
            raise Fault(SERVICE_FAILED, f"{unit} did not stay up on the new home", where="restore")


def _each(units: Sequence[Unit], call: Callable[[Unit], None], follower: Follower) -> tuple[Unit, ...]:
    """Stop or start services on the way back; one that fails keeps no other from it; return those that failed."""
    failed = []
    for unit in units:
        try:
            call(unit)
        except (Fault, OSError) as error:
            follower.warn("restore", str(error))
            failed.append(unit)
    return tuple(failed)
