"""What a host says of its backups: the last run of each pipeline, its next one, and what was deployed there."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Literal

from hermes_backup.pipeline.status import State, Status

Result = State | Literal["killed"]


@dataclass(frozen=True)
class LastRun:
    """The last run that wrote a status.

    Attributes:
        alive: its process is there.
        partial: how many files are partial; the status may name only the first of them.
        warnings: how many warnings there were, likewise.
    """

    status: Status
    alive: bool = False
    partial: int = 0
    warnings: int = 0

    @property
    def result(self) -> Result:
        """How it ended; ``killed`` when it was still under way by its last word, and its process is gone."""
        return "killed" if self.status.state == "running" and not self.alive else self.status.state

    @property
    def took(self) -> timedelta:
        """How long it took, as far as it is known."""
        return (self.status.finished or self.status.updated) - self.status.started


@dataclass(frozen=True)
class UnitRun:
    """The last run of a pipeline's unit, as systemd saw it: its id, when it began, and how it ended."""

    invocation: str
    began: datetime | None
    active: str
    result: str

    @property
    def failed(self) -> bool:
        """It is over, and ended badly."""
        return self.active == "failed" and self.result not in ("", "success")


@dataclass(frozen=True)
class PipelineWord:
    """What a host says of one of its pipelines.

    Attributes:
        problem: there is a status, and why it cannot be read.
        next_run: when its timer elapses; None when none waits.
    """

    pipeline: str
    last: LastRun | None = None
    problem: str = ""
    unit: UnitRun | None = None
    next_run: datetime | None = None

    @property
    def broken_unit(self) -> UnitRun | None:
        """The unit's last run, if it broke before the agent could write any status."""
        unit, last = self.unit, self.last
        if unit is None or not unit.failed or unit.began is None:
            return None
        if last is not None and (last.status.run_id == unit.invocation or last.status.started >= unit.began):
            return None
        return unit


@dataclass(frozen=True)
class Deployed:
    """What the last deployment left on a host: the digest of what was declared then, and the agent's version."""

    digest: str
    version: str
    at: datetime | None


@dataclass(frozen=True)
class HostWord:
    """Everything that a host says of its backups; ``systemd`` is whether timers can be there at all."""

    host: str
    pipelines: tuple[PipelineWord, ...] = ()
    deployed: Deployed | None = None
    systemd: bool = False

    def of(self, pipeline: str) -> PipelineWord | None:
        """Return what it says of a pipeline."""
        return next((it for it in self.pipelines if it.pipeline == pipeline), None)
