"""A report as programs read it: plain data for JSON. Times are ISO 8601 in UTC, spans are seconds, sizes bytes."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

from hermes_backup.report.concerns import concerns

if TYPE_CHECKING:
    from hermes_backup.errors import Fault
    from hermes_backup.report.concerns import Concern
    from hermes_backup.report.drills import Drill
    from hermes_backup.report.holdings import Held, Holding
    from hermes_backup.report.keys import KeyEnd
    from hermes_backup.report.rows import FleetReport, HostReport, Row


def data(report: FleetReport) -> Mapping[str, Any]:
    """Return everything that a report holds."""
    return {
        "exit_code": int(report.exit_code),
        "inventory": report.inventory,
        "at": _time(report.at),
        "hosts": [_host(it, report.at) for it in report.hosts],
        "concerns": [_concern(it, report.inventory) for it in concerns(report)],
    }


def _host(host: HostReport, now: datetime) -> Mapping[str, Any]:
    return {
        "host": host.host,
        "state": host.freshness,
        "reachable": host.silence is None,
        "error": _fault(host.silence),
        "max_age": _span(host.max_age),
        "config": host.drift,
        "deployed": _time(host.deployed),
        "agent": host.agent or None,
        "keys": [_key(it) for it in host.keys],
        "drill": _drill(host.drill, host.max_drill_age, now),
        "max_drill_age": _span(host.max_drill_age),
        "pipelines": [_row(it, now) for it in host.rows],
    }


def _row(row: Row, now: datetime) -> Mapping[str, Any]:
    return {
        "pipeline": row.pipeline,
        "state": row.freshness,
        "allowed_age": _span(row.allowed),
        "newest": _held(row.newest, now),
        "places": [_holding(row, it, now) for it in row.holdings],
        "last_run": _last_run(row),
        "next_run": None if row.word is None else _time(row.word.next_run),
    }


def _holding(row: Row, holding: Holding, now: datetime) -> Mapping[str, Any]:
    return {
        "place": holding.place,
        "newest": _held(holding.newest, now),
        "count": holding.count,
        "error": _fault(holding.fault),
        "doubt": _fault(holding.doubt),
        "lost": _fault(next((it for it in row.lost if it.where == holding.place), None)),
    }


def _held(held: Held | None, now: datetime) -> Mapping[str, Any] | None:
    if held is None:
        return None
    return {
        "snapshot": str(held.name),
        "time": _time(held.name.time),
        "age": _span(now - held.name.time),
        "size": held.size,
        "growth": held.growth,
    }


def _last_run(row: Row) -> Mapping[str, Any] | None:
    word = row.word
    if word is None or (word.last is None and word.broken_unit is None and not word.problem):
        return None
    unit = word.broken_unit
    if unit is not None:
        return {"result": "failed", "run_id": unit.invocation, "started": _time(unit.began), "unit": unit.result}
    if word.last is None:
        return {"result": "unknown", "problem": word.problem}
    last, status = word.last, word.last.status
    return {
        "result": last.result,
        "run_id": status.run_id,
        "started": _time(status.started),
        "finished": _time(status.finished),
        "duration": _span(last.took),
        "exit_code": status.exit_code,
        "stage": status.stage,
        "snapshot": status.snapshot,
        "files": status.files,
        "partial": last.partial,
        "warnings": last.warnings,
        "error": None if status.error is None else status.error.model_dump(),
    }


def _key(key: KeyEnd) -> Mapping[str, Any]:
    return {"fingerprint": key.fingerprint, "until": _time(key.until), "error": _fault(key.fault)}


def _drill(drill: Drill | None, max_age: timedelta, now: datetime) -> Mapping[str, Any] | None:
    if drill is None:
        return None
    status = drill.status
    return {
        "pipeline": drill.pipeline,
        "result": "never" if status is None else status.state,
        "finished": None if status is None else _time(status.finished),
        "age": None if drill.passed is None else _span(now - drill.passed),
        "due": _time(drill.due(max_age)),
    }


def _concern(it: Concern, inventory: str) -> Mapping[str, Any]:
    mend = it.mend.replace("INVENTORY", inventory).replace("HOST", it.host)
    said = {"host": it.host, "subject": it.subject, "name": it.name, "what": it.what}
    return {**said, "mend": mend, "grave": it.grave}


def _fault(fault: Fault | None) -> Mapping[str, Any] | None:
    return None if fault is None else {"name": fault.kind.name, "what": fault.what, "mend": fault.mend}


def _time(moment: datetime | None) -> str | None:
    return None if moment is None else moment.isoformat()


def _span(span: timedelta | None) -> float | None:
    return None if span is None else round(span.total_seconds(), 3)
