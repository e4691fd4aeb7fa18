"""A fleet's backups as values: what was seen, and what follows from it."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Literal

from hermes_backup.errors import AGE_UNKNOWN, SNAPSHOT_SUSPECT, ExitCode, Fault
from hermes_backup.pipeline.places import backups
from hermes_backup.pipeline.rollback import Record
from hermes_backup.report.freshness import Freshness, allowed_age, judge, worst
from hermes_backup.report.holdings import Held, Holding
from hermes_backup.report.keys import KeyEnd
from hermes_backup.snapshots.names import SnapshotName
from hermes_backup.snapshots.retention import SKEW

if TYPE_CHECKING:
    from hermes_backup.pipeline.config import HostConfig
    from hermes_backup.pipeline.model import Pipeline
    from hermes_backup.pipeline.reported import HostWord, PipelineWord
    from hermes_backup.report.drills import Drill

Drift = Literal["as declared", "differs", "not deployed", "unknown"]
BY_ITS_WORD = "the host's own word"
_WELL = ("done", "partial", "unchanged")


@dataclass(frozen=True)
class Row:
    """A pipeline of a host.

    Attributes:
        allowed: how old its newest snapshot may be; None for one without a schedule, which nobody waits for.
        freshness: where no pipeline of the host has a schedule, that of the host.
        word: what the host says of it; None when it says nothing.
        lost: of each place that does not show the newest snapshot any more that it held.
    """

    host: str
    pipeline: str
    holdings: tuple[Holding, ...]
    allowed: timedelta | None
    freshness: Freshness
    word: PipelineWord | None
    lost: tuple[Fault, ...] = ()

    @property
    def newest(self) -> Held | None:
        """The newest snapshot over all its places."""
        return newest_of(self.holdings)

    @property
    def idle(self) -> bool:
        """It has no schedule, it never ran as far as is known, and nothing of it lies anywhere."""
        ran = self.word is not None and self.word.last is not None
        return self.allowed is None and not ran and self.newest is None


@dataclass(frozen=True)
class HostReport:
    """A host and its pipelines.

    Attributes:
        freshness: of a host, by each pipeline with a schedule; where none has one, by its newest snapshot at all.
        silence: why the host says nothing; None when it answered.
        keys: its recipients, the one that troubles or ends first at the head.
        agent: the version that is deployed.
    """

    host: str
    rows: tuple[Row, ...]
    freshness: Freshness
    silence: Fault | None
    drift: Drift
    deployed: datetime | None
    agent: str
    systemd: bool
    keys: tuple[KeyEnd, ...]
    drill: Drill | None
    max_age: timedelta
    max_drill_age: timedelta


@dataclass(frozen=True)
class FleetReport:
    """The hosts of an inventory at a time."""

    inventory: str
    at: datetime
    hosts: tuple[HostReport, ...]

    @property
    def exit_code(self) -> ExitCode:
        """STALE when any host is, a place lost its newest snapshot, a drill failed or is too old, or some do not count.

        HOSTS when nobody knows of one; else OK.
        """
        if any(row.lost for it in self.hosts for row in it.rows):
            return ExitCode.STALE
        said = {it.freshness for it in self.hosts}
        drills = [(it.drill, it.max_drill_age) for it in self.hosts if it.drill is not None]
        overdue = any(drill.failed or drill.overdue(allowed, self.at) for drill, allowed in drills)
        doubts = [holding.doubt for host in self.hosts for row in host.rows for holding in row.holdings]
        suspects = any(it is not None and it.kind is SNAPSHOT_SUSPECT for it in doubts)
        if overdue or suspects or said & {"stale", "none"}:
            return ExitCode.STALE
        return ExitCode.HOSTS if "unknown" in said else ExitCode.OK


@dataclass(frozen=True)
class Subject:
    """A host to be reported on: what is declared for it, with the digest of that, its keys and its last drill."""

    config: HostConfig
    digest: str
    keys: tuple[KeyEnd, ...]
    drill: Drill | None


def host_report(
    subject: Subject, pipeline: str, holdings: Sequence[Holding], word: HostWord | Fault, now: datetime
) -> HostReport:
    """Put together what is declared, what the places hold and what the host says.

    Raises:
        Fault: PIPELINE_MISSING for a pipeline that the host does not have.
    """
    config = subject.config
    silence = word if isinstance(word, Fault) else None
    spoken = None if isinstance(word, Fault) else word
    rows = tuple(
        _row(config, it, [one for one in holdings if one.pipeline == it.name], spoken, now)
        for it in backups(config, pipeline)
    )
    freshness = _freshness(rows, config.max_age, now)
    if all(it.allowed is None for it in rows):
        rows = tuple(replace(it, freshness=freshness) for it in rows)
    deployed = None if spoken is None else spoken.deployed
    return HostReport(
        host=config.host,
        rows=rows,
        freshness=freshness,
        silence=silence,
        drift=_drift(subject.digest, spoken),
        deployed=None if deployed is None else deployed.at,
        agent="" if deployed is None else deployed.version,
        systemd=spoken is not None and spoken.systemd,
        keys=subject.keys,
        drill=subject.drill,
        max_age=config.max_age,
        max_drill_age=config.max_drill_age,
    )


def newest_of(holdings: Sequence[Holding]) -> Held | None:
    """Return the newest snapshot of several places."""
    return max((it.newest for it in holdings if it.newest is not None), key=lambda it: it.name, default=None)


def _row(
    config: HostConfig, pipeline: Pipeline, seen: Sequence[Holding], spoken: HostWord | None, now: datetime
) -> Row:
    word = None if spoken is None else spoken.of(pipeline.name)
    holdings = tuple(seen) or (_by_its_word(config.host, pipeline.name, spoken),)
    allowed = None if pipeline.schedule is None else allowed_age(pipeline.schedule, config.max_age)
    freshness: Freshness = "not judged"
    if allowed is not None:
        freshness = judge(_last_good(holdings, word), blind=_blind(holdings), allowed=allowed, now=now)
    lost = tuple(it for it in (one.lost(_told(word, one.place, now)) for one in holdings) if it is not None)
    return Row(config.host, pipeline.name, holdings, allowed, freshness, word, lost)


def _told(word: PipelineWord | None, place: str, now: datetime) -> tuple[Record, ...]:
    """Return what the host's last run left in a place; one that may have ended after the place was looked into, not."""
    status = None if word is None or word.last is None else word.last.status
    if status is None or status.snapshot is None or status.finished is None or place not in status.places:
        return ()
    if status.finished > now - SKEW:
        return ()
    with suppress(ValueError):  # what it says is no snapshot's name
        return (Record(SnapshotName.parse(status.snapshot), f"the last run of {status.host}"),)
    return ()


def _freshness(rows: Sequence[Row], max_age: timedelta, now: datetime) -> Freshness:
    scheduled = [it.freshness for it in rows if it.allowed is not None]
    if scheduled or not rows:
        return worst(scheduled)
    times = [it for it in (_last_good(row.holdings, row.word) for row in rows) if it is not None]
    blind = any(_blind(row.holdings) for row in rows)
    return judge(max(times, default=None), blind=blind, allowed=max_age, now=now)


def _last_good(holdings: Sequence[Holding], word: PipelineWord | None) -> datetime | None:
    """Return when the newest snapshot was begun, or, if later, a run that found that nothing has changed since."""
    newest = newest_of(holdings)
    if newest is None:
        return None
    heartbeat = None if word is None or word.last is None else word.last.status.heartbeat
    if heartbeat is not None and heartbeat.snapshot == str(newest.name):
        return max(newest.name.time, heartbeat.at)
    return newest.name.time


def _blind(holdings: Sequence[Holding]) -> bool:
    return any(it.fault is not None for it in holdings)


def _by_its_word(host: str, pipeline: str, spoken: HostWord | None) -> Holding:
    """Return what the host says that it holds itself: nothing of that pipeline lies where this machine could look."""
    if spoken is None:
        what = f"its snapshots lie on {host} alone, which does not answer"
        return Holding(host, pipeline, BY_ITS_WORD, fault=Fault(AGE_UNKNOWN, what))
    word = spoken.of(pipeline)
    status = None if word is None or word.last is None else word.last.status
    newest = None
    if status is not None and status.snapshot is not None and status.state in _WELL:
        with suppress(ValueError):  # what it says is no snapshot's name
            newest = Held(SnapshotName.parse(status.snapshot), status.stored)
    return Holding(host, pipeline, BY_ITS_WORD, newest, int(newest is not None))


def _drift(digest: str, spoken: HostWord | None) -> Drift:
    if spoken is None:
        return "unknown"
    if spoken.deployed is None:
        return "not deployed"
    return "as declared" if spoken.deployed.digest == digest else "differs"
