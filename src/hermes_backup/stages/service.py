"""Stage ``service``: stop a systemd unit while the home is read, and start it again."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated, Any, ClassVar

from pydantic import StringConstraints

from hermes_backup.home.services import UNIT_NAME, Unit
from hermes_backup.stages.context import Context
from hermes_backup.stages.stage import Stage
from hermes_backup.stages.things import Home
from hermes_backup.streams.process import find

_STOPPED = "stopped-"
UnitName = Annotated[str, StringConstraints(pattern=UNIT_NAME)]


class Service(Stage):
    """Stop a unit before the copy; start it as soon as the home's last byte was read, and only if it ran.

    A run that is killed meanwhile cannot start it; the next one does.
    """

    name: ClassVar[str] = "service"
    takes: ClassVar[tuple[type, ...]] = (Home,)
    gives: ClassVar[type] = Home

    unit: UnitName = "hermes-gateway.service"
    """The unit's name."""
    user: bool = False
    """It is a unit of the user's own manager."""

    def preflight(self, context: Context) -> None:
        """Make sure that systemctl is there."""
        del context
        find("systemctl", self.name)

    def plan(self, context: Context) -> tuple[str, ...]:
        """Say which unit."""
        del context
        return (f"stop {self.unit} while the home is read",)

    def run(self, value: Any, context: Context) -> Home:
        """Stop the unit and arrange its start."""
        home: Home = value
        mark = context.ledger.folder / f"{_STOPPED}{self.unit}"
        unit = Unit(self.unit, os.geteuid() if self.user else None)
        if not unit.is_active():
            if not mark.exists():
                context.listener.note(self.name, f"{self.unit} does not run")
                return home
            context.listener.warn(self.name, f"{self.unit} was left stopped by a run that was killed")
        mark.touch(mode=0o600)
        context.teardown.home_released.callback(_start, unit, mark)
        unit.stop()
        return home


def left_stopped(folder: Path) -> bool:
    """Say whether a run that was killed left a unit stopped, by a pipeline's state folder: the next run starts it."""
    return any(folder.glob(f"{_STOPPED}*"))


def _start(unit: Unit, mark: Path) -> None:
    unit.start()
    mark.unlink(missing_ok=True)
