"""The last drill of a host: a pipeline that runs on this machine and says itself how it ended."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta, timezone
from typing import TYPE_CHECKING

from hermes_backup.errors import DRILL_DUE, RUN_LOST, Fault
from hermes_backup.pipeline.amounts import show_age
from hermes_backup.pipeline.config import pipeline_of
from hermes_backup.pipeline.drilled import is_drill, passed_file, status_file
from hermes_backup.pipeline.lock import locked
from hermes_backup.pipeline.status import Status, Trouble

if TYPE_CHECKING:
    from pathlib import Path

    from hermes_backup.pipeline.config import HostConfig

_NEVER = datetime.min.replace(tzinfo=timezone.utc)
_LATER = datetime.max.replace(tzinfo=timezone.utc)
_PATIENCE = timedelta(days=1)


@dataclass(frozen=True)
class Drill:
    """A pipeline that drills, and its last run here; None when it never ran. ``before``: when one last passed."""

    pipeline: str
    status: Status | None
    before: datetime | None = None

    @property
    def passed(self) -> datetime | None:
        """When it ended well; while one runs, the one before it. None when the last one did not, or there was none."""
        status = self.status
        if status is None:
            return None
        return self.before if status.state == "running" else status.finished if status.state == "done" else None

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


def last_drill(config: HostConfig, drills: Path) -> Drill | None:
    """Return how the host's last drill ended; of several drills the one that is worst off; None where it has none.

    ``drills`` is the folder of what this machine keeps of them.
    """
    names = [name for name in config.pipelines if is_drill(pipeline_of(config, name))]
    return min((_drill(it, status_file(drills, config.host, it)) for it in names), key=_trouble, default=None)


def _drill(name: str, path: Path) -> Drill:
    last = _read(passed_file(path))
    return Drill(name, _status(path), None if last is None else last.finished)


def _trouble(drill: Drill) -> tuple[bool, datetime]:
    """Sort what failed before what was never done, and that before what passed long ago."""
    if drill.status is None:
        return True, _NEVER
    return not drill.failed, drill.passed or _LATER


def _status(path: Path) -> Status | None:
    status = _read(path)
    if status is None or status.state != "running":
        return status
    silent = datetime.now(timezone.utc) - status.updated
    held = _is_held(path.parent / "lock")
    if held and silent < _PATIENCE:
        return status
    how = f"nothing was heard of it for {show_age(silent)}" if held else "it was killed"
    lost = Trouble(name=RUN_LOST.name, what=f"{how}, in {status.stage or 'no stage'}", mend=DRILL_DUE.mend)
    return status.model_copy(update={"state": "failed", "error": lost})


def _read(path: Path) -> Status | None:
    try:
        return Status.read(path)
    except (OSError, ValueError):
        return None


def _is_held(lock: Path) -> bool:
    """Whether somebody runs; a lock that cannot be looked at may be held."""
    try:
        with locked(lock):
            return False
    except (Fault, OSError):
        return True
