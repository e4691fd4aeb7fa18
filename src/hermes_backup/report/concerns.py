"""What of a report needs somebody's attention, each with its stable name and what to do."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

from hermes_backup.errors import (
    AGE_UNKNOWN,
    DEPLOY_STALE,
    DRILL_DUE,
    DRILL_OVERDUE,
    REMARKS,
    ROLLBACK,
    RUN_LOST,
    RUN_PARTIAL,
    STALE,
    TIMER_MISSING,
    Fault,
    Kind,
)
from hermes_backup.pipeline.amounts import show_age

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime, timedelta

    from hermes_backup.pipeline.reported import LastRun, PipelineWord
    from hermes_backup.report.rows import FleetReport, HostReport, Row

_RANK = {"HB-STALE": 0, "HB-AGE-UNKNOWN": 1}


@dataclass(frozen=True)
class Concern:
    """Something that needs attention: whom it concerns, what it is, and how it is mended.

    Attributes:
        mend: speaks of INVENTORY and HOST.
        subject: the host, its pipeline or a place.
        grave: it is no mere warning.
    """

    host: str
    subject: str
    name: str
    what: str
    mend: str
    grave: bool


@dataclass(frozen=True)
class Group:
    """Concerns of one name: what is said, each with all whom it concerns, and how all of them are mended."""

    name: str
    grave: bool
    said: tuple[tuple[tuple[str, ...], str], ...]
    mend: str
    hosts: tuple[str, ...]


def concerns(report: FleetReport) -> tuple[Concern, ...]:
    """Return everything that needs attention, the gravest first, else in the order of the hosts."""
    every = [it for host in report.hosts for it in _of_host(host, report.at)]
    return tuple(sorted(every, key=lambda it: (not it.grave, _RANK.get(it.name, len(_RANK)))))


def _of_host(host: HostReport, now: datetime) -> Iterator[Concern]:
    if host.silence is not None:
        yield _from(host.host, host.host, host.silence, grave=False)
    for row in host.rows:
        yield from _of_age(row, row.allowed or host.max_age, now)
        yield from _of_places(row)
        yield from _of_run(row)
        if _lacks_timer(host, row):
            what = "its schedule runs nowhere: no timer waits on the host"
            yield _new(host.host, _subject(row), TIMER_MISSING, what)
    for key in host.keys:
        if key.fault is not None:
            yield _from(host.host, host.host, key.fault)
    if host.drift == "differs":
        agent = f", with agent {host.agent}" if host.agent else ""
        when = f" on {host.deployed:%Y-%m-%d %H:%M} UTC" if host.deployed else ""
        yield _new(
            host.host, host.host, DEPLOY_STALE, f"what was deployed{when}{agent} is not what is declared", grave=False
        )
    elif host.drift == "not deployed" and any(it.allowed is not None for it in host.rows):
        yield _new(
            host.host, host.host, DEPLOY_STALE, "nothing is deployed, so no schedule runs by itself", grave=False
        )
    yield from _of_drill(host, now)


def _of_age(row: Row, allowed: timedelta, now: datetime) -> Iterator[Concern]:
    if row.freshness == "none":
        yield _new(row.host, _subject(row), STALE, "there is no snapshot at all")
    elif row.freshness == "stale" and row.newest is not None:
        age = show_age(now - row.newest.name.time)
        what = f"the newest snapshot is {age} old, {show_age(allowed)} are allowed"
        yield _new(row.host, _subject(row), STALE, what)
    elif row.freshness == "unknown":
        unread = [_unread(it.place, it.fault) for it in row.holdings if it.fault is not None]
        if unread:
            yield _new(row.host, _subject(row), AGE_UNKNOWN, f"nobody knows how old its newest is: {', '.join(unread)}")


def _unread(place: str, fault: Fault) -> str:
    return fault.what if fault.kind is AGE_UNKNOWN else f"{place} cannot be read"


def _of_places(row: Row) -> Iterator[Concern]:
    newest = row.newest
    under_way = row.word is not None and row.word.last is not None and row.word.last.result == "running"
    for lost in row.lost:
        yield _from(row.host, lost.where, lost)
    told = {it.where for it in row.lost}
    for it in row.holdings:
        if it.fault is not None and it.fault.kind is not AGE_UNKNOWN:
            yield _from(row.host, it.place, it.fault)
        elif (
            it.fault is None
            and newest is not None
            and not under_way
            and it.place not in told
            and (it.newest is None or it.newest.name != newest.name)
        ):
            there = "it holds none" if it.newest is None else f"its newest is {it.newest.name}"
            yield _new(row.host, it.place, ROLLBACK, f"it lacks {newest.name} of {_subject(row)}; {there}", grave=False)
        if it.doubt is not None:
            yield _from(row.host, it.place, it.doubt)


def _of_run(row: Row) -> Iterator[Concern]:
    word = row.word
    if word is None:
        return
    if word.problem:
        yield _new(row.host, _subject(row), RUN_LOST, f"its last run is not known: {word.problem}")
    if word.broken_unit is not None:
        yield _new(row.host, _subject(row), RUN_LOST, _broken(word), grave=True)
    elif word.last is not None:
        yield from _of_last(row, word.last)


def _of_last(row: Row, last: LastRun) -> Iterator[Concern]:
    error, stage = last.status.error, last.status.stage
    if error is not None:
        where = f", in {stage}" if stage else ""
        what = f"its last run {last.status.state}{where}: {error.what}"
        yield Concern(row.host, _subject(row), error.name, what, error.mend, grave=last.result == "failed")
    elif last.result == "killed":
        yield _new(row.host, _subject(row), RUN_LOST, f"its last run was killed, in {stage or 'no stage'}", grave=True)
    elif last.result == "partial":
        first = last.status.partial[:1]
        named = f", the first is {first[0].path}: {first[0].reason}" if first else ""
        files = "1 file" if last.partial == 1 else f"{last.partial} files"
        what = f"its last run is partial, {files}{named}"
        yield _new(row.host, _subject(row), RUN_PARTIAL, what)


def _broken(word: PipelineWord) -> str:
    unit = word.broken_unit
    return "" if unit is None else f"its unit failed before the agent could say anything: {unit.result}"


def _of_drill(host: HostReport, now: datetime) -> Iterator[Concern]:
    drill = host.drill
    if drill is None:
        return
    status = drill.status
    if status is None:
        yield _new(host.host, host.host, DRILL_DUE, "it was never drilled that its backups come back")
    elif status.error is not None:
        what = f"its last drill {status.state}: {status.error.what}"
        yield Concern(
            host.host, f"{host.host}/{drill.pipeline}", status.error.name, what, status.error.mend, grave=True
        )
    elif drill.passed is not None and drill.overdue(host.max_drill_age, now):
        limit = show_age(host.max_drill_age)
        what = f"its last drill was {show_age(now - drill.passed)} ago, {limit} are allowed"
        yield _new(host.host, host.host, DRILL_OVERDUE, what)


def _lacks_timer(host: HostReport, row: Row) -> bool:
    """Only where something is deployed: before, there is nothing to be missed. A run under way has no next yet."""
    if row.allowed is None or row.word is None or not host.systemd or host.drift in ("not deployed", "unknown"):
        return False
    running = row.word.last is not None and row.word.last.result == "running"
    return row.word.next_run is None and not running


def _subject(row: Row) -> str:
    return f"{row.host}/{row.pipeline}"


def _new(host: str, subject: str, kind: Kind, what: str, *, grave: bool | None = None) -> Concern:
    return _from(host, subject, Fault(kind, what), grave=grave)


def _from(host: str, subject: str, fault: Fault, *, grave: bool | None = None) -> Concern:
    is_grave = fault.kind not in REMARKS if grave is None else grave
    return Concern(host, subject, fault.kind.name, fault.what, fault.mend, is_grave)


def grouped(every: Sequence[Concern]) -> tuple[Group, ...]:
    """Return all of one name together, and what is said of several in the same words once."""
    found: dict[tuple[str, str, bool], list[Concern]] = {}
    for it in every:
        found.setdefault((it.name, it.mend, it.grave), []).append(it)
    return tuple(_group(same) for same in found.values())


def _group(same: Sequence[Concern]) -> Group:
    said: dict[str, dict[str, None]] = {}
    for it in same:
        said.setdefault(it.what, {})[it.subject] = None
    told = tuple((tuple(subjects), what) for what, subjects in said.items())
    return Group(same[0].name, same[0].grave, told, same[0].mend, tuple(dict.fromkeys(it.host for it in same)))
