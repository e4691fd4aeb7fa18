"""Stage ``service``: stop a systemd unit while the home is read, and start it again."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, ClassVar

from pydantic import StringConstraints

from hermes_backup.errors import SERVICE_FAILED, Fault
from hermes_backup.stages.context import Context
from hermes_backup.stages.stage import Stage
from hermes_backup.stages.things import Home
from hermes_backup.streams.process import Argument, Completed, find, run

Unit = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9:_.@\\-]{0,250}\z")]

_ACTIVE = frozenset({"active", "activating", "reloading", "refreshing"})
_INACTIVE = frozenset({"inactive", "failed", "deactivating", "unknown"})


class Service(Stage):
    """Stop a unit before the copy; start it as soon as the home's last byte was read, and only if it ran.

    A run that is killed meanwhile cannot start it; the next one does.
    """

    name: ClassVar[str] = "service"
    takes: ClassVar[tuple[type, ...]] = (Home,)
    gives: ClassVar[type] = Home

    unit: Unit = "hermes-gateway.service"
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
        mark = context.ledger.folder / f"stopped-{self.unit}"
        if not self._is_active():
            if not mark.exists():
                context.listener.note(self.name, f"{self.unit} does not run")
                return home
            context.listener.warn(self.name, f"{self.unit} was left stopped by a run that was killed")
        mark.touch(mode=0o600)
        context.teardown.home_released.callback(self._start, mark)
        self._must("stop")
        return home

    def _start(self, mark: Path) -> None:
        self._must("start")
        mark.unlink(missing_ok=True)

    def _is_active(self) -> bool:
        """Ask; an answer that is none (no systemd, no bus) must not be taken for "it does not run"."""
        done = self._systemctl("is-active")
        state = done.stdout.decode("utf-8", "replace").strip()
        if state in _ACTIVE or state in _INACTIVE:
            return state in _ACTIVE
        raise Fault(SERVICE_FAILED, f"systemctl does not answer: {done.stderr.strip() or state}", where=self.name)

    def _must(self, verb: str) -> None:
        done = self._systemctl(verb)
        if done.returncode != 0:
            raise Fault(SERVICE_FAILED, f"cannot {verb} {self.unit}: {done.stderr.strip()}", where=self.name)

    def _systemctl(self, *words: str) -> Completed:
        argv: list[Argument] = ["systemctl", *(["--user"] if self.user else []), *words, "--", self.unit]
        return run(argv, stage=self.name)
