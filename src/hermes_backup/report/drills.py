"""The last drill of a host: a pipeline that runs on this machine and says itself how it ended."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta, timezone
from typing import TYPE_CHECKING

from hermes_backup.errors import DRILL_DUE, RUN_LOST, Fault
from hermes_backup.pipeline.agent import status_path
from hermes_backup.pipeline.config import pipeline_of
from hermes_backup.pipeline.lock import locked
from hermes_backup.pipeline.status import Status, Trouble

if TYPE_CHECKING:
    from pathlib import Path

    from hermes_backup.pipeline.config import HostConfig

_NEVER = datetime.min.replace(tzinfo=timezone.utc)


@dataclass(frozen=True)
class Drill:
    """A pipeline of the controller, and its last run here; None when it never ran."""

    pipeline: str
    status: Status | None

    @property
    def passed(self) -> datetime | None:
        """When it ended well; None when the last one did not, or there was none."""
        status = self.status
        return status.finished if status is not None and status.state == "done" else None

    @property
    def failed(self) -> bool:
        """The last one ended, and did not pass."""
        return self.status is not None and self.status.state not in ("done", "running")

    def due(self, max_age: timedelta) -> datetime | None:
        """When the next one is to be done at the latest; None where the last one did not pass."""
        return None if self.passed is None else self.passed + max_age

    def overdue(self, max_age: timedelta, now: datetime) -> bool:
        """Whether the last one that passed is longer ago than allowed."""
        due = self.due(max_age)
        return due is not None and due < now


def last_drill(config: HostConfig) -> Drill | None:
    """Return the drill that ran last; None for a host that has none."""
    names = [name for name in config.pipelines if pipeline_of(config, name).runs_on == "controller"]
    drills = [Drill(name, _status(config, name)) for name in names]
    return max(drills, key=lambda it: _NEVER if it.status is None else it.status.updated, default=None)


def _status(config: HostConfig, name: str) -> Status | None:
    path = status_path(config, name)
    try:
        status = Status.read(path)
    except (OSError, ValueError):
        return None
    if status.state != "running" or _is_held(path.parent / "lock"):
        return status
    lost = Trouble(name=RUN_LOST.name, what=f"it was killed, in {status.stage or 'no stage'}", mend=DRILL_DUE.mend)
    return status.model_copy(update={"state": "failed", "error": lost})


def _is_held(lock: Path) -> bool:
    """Whether somebody runs; a lock that cannot be looked at may be held."""
    try:
        with locked(lock):
            return False
    except (Fault, OSError):
        return True
