"""Stage ``service``: stop a systemd unit while the home is read, and start it again."""

from __future__ import annotations

from typing import Annotated, Any, ClassVar

from pydantic import StringConstraints

from hermes_backup.errors import SERVICE_FAILED, Fault
from hermes_backup.stages.context import Context
from hermes_backup.stages.stage import Stage
from hermes_backup.stages.things import Home
from hermes_backup.streams.process import Argument, Completed, run

Unit = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9:_.@\\-]{0,250}\z")]


class Service(Stage):
    """Stop a unit before the copy; start it as soon as the home's last byte was read, and only if it ran."""

    name: ClassVar[str] = "service"
    takes: ClassVar[tuple[type, ...]] = (Home,)
    gives: ClassVar[type] = Home

    unit: Unit = "hermes-gateway.service"
    """The unit's name."""
    user: bool = False
    """It is a unit of the user's own manager."""

    def plan(self, context: Context) -> tuple[str, ...]:
        """Say which unit."""
        del context
        return (f"stop {self.unit} while the home is read",)

    def run(self, value: Any, context: Context) -> Home:
        """Stop the unit and arrange its start."""
        home: Home = value
        if self._systemctl("is-active", "--quiet").returncode != 0:
            context.listener.note(self.name, f"{self.unit} does not run")
            return home
        context.teardown.home_released.callback(self._must, "start")
        self._must("stop")
        return home

    def _must(self, verb: str) -> None:
        done = self._systemctl(verb)
        if done.returncode != 0:
            raise Fault(SERVICE_FAILED, f"cannot {verb} {self.unit}: {done.stderr.strip()}", where=self.name)

    def _systemctl(self, *words: str) -> Completed:
        argv: list[Argument] = ["systemctl", *(["--user"] if self.user else []), *words, "--", self.unit]
        return run(argv, stage=self.name)
