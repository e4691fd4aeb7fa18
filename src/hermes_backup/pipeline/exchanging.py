"""Old and new change places while nobody uses the home: forwards to the end, or back."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from hermes_backup.errors import SERVICE_FAILED, Fault
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

    ``left_out`` moves from the old home into the new one; ``quiet``: who uses the home must stop for it, and ``start``
    again afterwards. ``note`` is the file that tells of it meanwhile.
    """

    home: Path
    swaps: Sequence[Swap]
    left_out: Sequence[str]
    quiet: bool
    start: bool
    note: Path

    def execute(self, follower: Follower) -> tuple[tuple[Unit, ...], tuple[Unit, ...]]:
        """Do it; return the services that were stopped, and those that run again.

        Raises:
            Fault: HOME_HELD, SERVICE_FAILED; everything is back then, but where SERVICE_FAILED says otherwise.
            OSError: likewise.
        """
        units = services_of(self.home) if self.quiet else ()
        undisturbed()  # from here on it goes to an end, forwards or back
        Note.of(self.swaps, units, self.left_out, start=self.start).write(self.note)
        again = units if self.start else ()
        done: list[Swap] = []
        carried: list[str] = []
        try:
            if self.quiet:
                vacate(self.home, units)
            for it in self.swaps:
                it.apply()
                done.append(it)
            for name in self.left_out:
                carry(name, self.swaps[0].aside, self.swaps[0].target)
                carried.append(name)
            _start(again)
        except BaseException as error:
            running = self._running(units, follower) if done else ()
            if running:
                _each(again, Unit.start, follower)
                self.note.unlink()
                raise self._stays(error, running) from None
            for name in reversed(carried):
                carry(name, self.swaps[0].target, self.swaps[0].aside)
            for it in reversed(done):
                it.undo()
            _each(units, Unit.start, follower)
            self.note.unlink(missing_ok=True)
            raise
        self.note.unlink()
        return units, again

    def _running(self, units: Sequence[Unit], follower: Follower) -> tuple[Unit, ...]:
        """Stop services on the way back; return those that cannot be stopped, and may be writing to the new entries."""
        failed = _each(units, Unit.stop, follower)
        return tuple(it for it in failed if may_run(it, self.home))

    def _stays(self, error: BaseException, running: Sequence[Unit]) -> Fault:
        """Say that the new entries stay: what a service writes while they are taken from it would be lost."""
        why = error.what if isinstance(error, Fault) else str(error)
        who = ", ".join(map(str, running))
        old = ", ".join(printable(str(it.shown_aside)) for it in self.swaps)
        what = f"{why}; {who} cannot be stopped, so what was restored stays in its place; what was before is {old}"
        return Fault(SERVICE_FAILED, what, where="restore", mend="Stop it by hand; then you may move the old one back.")


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
