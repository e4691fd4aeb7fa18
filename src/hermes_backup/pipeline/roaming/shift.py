"""The time between the bringing of a home and its last snapshot, as its pipeline and this machine's clock have it."""

from __future__ import annotations

from contextlib import suppress
from datetime import datetime, timezone

from hermes_backup.errors import CONFIG_INVALID, ExitCode, Fault
from hermes_backup.pipeline.config import HostConfig, pipeline_of
from hermes_backup.pipeline.executor import Follower
from hermes_backup.pipeline.preparing import pipeline_folder, prepared, private, status_path
from hermes_backup.pipeline.roaming import leasing
from hermes_backup.pipeline.roaming.attachment import attachment
from hermes_backup.pipeline.status import Status
from hermes_backup.streams.private import write_private

_EVERY = 900.0
_MADE = ("done", "partial")


def every(config: HostConfig, name: str) -> float:
    """Return how many seconds lie between two snapshots of a pipeline: as declared, else a quarter of an hour.

    Raises:
        Fault: CONFIG_INVALID for a calendar, which only systemd understands.
    """
    schedule = pipeline_of(config, name).schedule
    if schedule is None:
        return _EVERY
    if schedule.every is None:
        what = f"pipeline {name} has a calendar, and no interval"
        raise Fault(CONFIG_INVALID, what, where=name, mend="Give it an interval: schedule: {every: 15m}.")
    return schedule.every.total_seconds()


class Measure:
    """How many seconds a snapshot of a pipeline takes here: the last that was made, None before the first.

    It is remembered beyond runs that find nothing changed, and beyond this process.
    """

    def __init__(self, config: HostConfig, name: str) -> None:
        self._config = config
        self._name = name
        self._path = pipeline_folder(config, name) / "measured"
        self._seconds: float | None = None
        with suppress(OSError, ValueError):
            self._seconds = float(self._path.read_bytes())

    def __call__(self) -> float | None:
        """Look whether there is a newer one."""
        status = last_status(self._config, self._name)
        if status is not None and status.finished is not None and status.state in _MADE:
            self._seconds = (status.finished - status.started).total_seconds()
            with suppress(OSError):  # a full disk costs the memory, and not the command
                write_private(self._path, str(self._seconds).encode())
        return self._seconds


def last_status(config: HostConfig, name: str) -> Status | None:
    """Return how the last run of a pipeline on this machine went; None before the first."""
    with suppress(OSError, ValueError):
        return Status.read(status_path(config, name))
    return None


def saved_until(config: HostConfig, name: str, code: int) -> datetime | None:
    """Return before which moment everything is in a snapshot, given how the last run ended; None where it failed."""
    status = last_status(config, name)
    return status.started if code == ExitCode.OK and status is not None else None


def renew_lease(config: HostConfig, name: str, follower: Follower) -> None:
    """Say once more that this machine writes the home.

    Raises:
        Fault: LEASE_HELD when another does.
    """
    folder = private(pipeline_folder(config, name))
    now = datetime.now(timezone.utc)
    pipeline = pipeline_of(config, name)
    with prepared(config, pipeline, folder, now, follower) as context:
        record = attachment(folder)
        if record is not None:
            leasing.renew(pipeline, context, folder, record.lease)
