"""Values of a report, made by hand: a time, snapshots, hosts and what they say."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone
from io import StringIO
from typing import Any

from rich.console import Console, RenderableType

from hermes_backup.errors import Fault
from hermes_backup.pipeline.config import HostConfig, parse_config
from hermes_backup.pipeline.reported import Deployed, HostWord, LastRun, PipelineWord
from hermes_backup.pipeline.status import Status
from hermes_backup.report.holdings import Held, Holding
from hermes_backup.report.rows import FleetReport, HostReport, Subject, host_report
from hermes_backup.snapshots.names import SnapshotName

NOW = datetime(2026, 11, 21, 10, 0, tzinfo=timezone.utc)
RECIPIENT = "3AA5C34371567BD2F2F3B2B0A1C0A7D1B0E0F001"
DIGEST = "d1"
NIGHTLY = {"on_calendar": "*-*-* 03:30:00"}


def name(number: int, hours: float) -> SnapshotName:
    """Return the name of a snapshot that was begun so many hours ago."""
    return SnapshotName(number, (NOW - timedelta(hours=hours)).replace(microsecond=0))


def held(number: int, hours: float, size: int = 1_200_000_000, growth: int | None = 12_000_000) -> Held:
    return Held(name(number, hours), size, growth)


def config(host: str = "vps1", pipelines: Any = None, **more: Any) -> HostConfig:
    """Return a configuration; its one pipeline is scheduled for every night unless others are given."""
    stages = ["archive", {"encrypt": {"recipients": [RECIPIENT]}}, {"push": {"to": ["r2:hermes", "nas:/srv/hermes"]}}]
    given = {"nightly": NIGHTLY} if pipelines is None else pipelines
    made = parse_config(
        {
            "host": host,
            "home": "~/.hermes",
            "state": "/nowhere",
            "pipelines": {it: {"stages": stages, "schedule": schedule} for it, schedule in given.items()},
            **more,
        }
    )
    assert isinstance(made, HostConfig), made
    return made


def holding(place: str, newest: Held | None = None, pipeline: str = "nightly", **more: Any) -> Holding:
    return Holding("vps1", pipeline, place, newest, 1 if newest else 0, **more)


def status(state: str = "done", hours: float = 6.5, seconds: float = 42, **more: Any) -> Status:
    started = NOW - timedelta(hours=hours)
    ended = started + timedelta(seconds=seconds)
    known = {"run_id": "r", "pid": 1, "host": "vps1", "pipeline": "nightly", "state": state, "started": started}
    return Status(**{**known, "updated": ended, "finished": None if state == "running" else ended, **more})


def word(
    last: LastRun | None = None, *, digest: str | None = DIGEST, hours: float | None = 17.5, **more: Any
) -> HostWord:
    """Return what a host says: by default that all is well."""
    next_run = None if hours is None else NOW + timedelta(hours=hours)
    said = PipelineWord("nightly", LastRun(status()) if last is None else last, next_run=next_run, **more)
    deployed = None if digest is None else Deployed(digest, "0.1.0", NOW - timedelta(days=9))
    return HostWord("vps1", (said,), deployed, systemd=True)


def report(
    holdings: tuple[Holding, ...] = (),
    said: HostWord | Fault | None = None,
    made: HostConfig | None = None,
    **more: Any,
) -> HostReport:
    """Return the report of a host; by default all is well with it."""
    both = (holding("r2:hermes", held(3, 6.5)), holding("nas:/srv/hermes", held(3, 6.5)))
    subject = Subject(made or config(), DIGEST, more.get("keys", ()), more.get("drill"))
    return host_report(subject, more.get("pipeline", ""), holdings or both, said or word(), NOW)


def fleet(*hosts: HostReport) -> FleetReport:
    return FleetReport("prod", NOW, hosts)


def text(what: RenderableType, width: int) -> list[str]:
    """Return what a terminal of this width would show."""
    out = StringIO()
    Console(file=out, width=width, force_terminal=True, color_system=None, highlight=False).print(what)
    return out.getvalue().splitlines()
